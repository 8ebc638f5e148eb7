"""The product in one thread: real futures and managers, real messages, the scheduler's real core.

Simulated are the clock, the network and the task processes; each moves only when told to, so that messages and
processes are late in every order that they can be late in. What passes is shown to :mod:`contract_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from contract_rules import FORGOTTEN, Job
from fake_clock import FakeClock
from future_observers import callbacks_done
from simulated_client import Connection, value_of
from simulated_engine import Engine
from simulated_process import Process

from scaler_notebook import DisconnectedError, EngineLostError
from scaler_notebook.protocol.messages import ClientDisconnect, ClientPause, TaskOptions
from scaler_notebook.task.task_end import TaskEnd

Move = Callable[[int], None]  # given how many messages it is to deliver at most


class Simulation:
    """Two clients, one engine at a time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.connections: list[Connection] = []
        self.jobs: list[Job] = []
        self._ends: list[Any] = []
        self.engine = Engine(self.clock, 0)
        self.clients = [self._connection(), self._connection()]

    def _connection(self, name: bytes = b"") -> Connection:
        connection = Connection(name or f"client{len(self.connections)}".encode())
        self.connections.append(connection)
        self.engine.connect(connection)
        return connection

    def submit(self, client: int, options: TaskOptions, inputs: Sequence[str] = (), keep: bool = False) -> None:
        self.jobs.append(self.clients[client].submit(len(self.jobs), options, inputs, keep))

    def nest(self, process: Process, options: TaskOptions) -> None:
        """The task that runs there submits another."""
        assert process.run is not None
        client = self.client_in(process)
        self.jobs.append(client.submit(len(self.jobs), options, parent=process.run.job.task_id))

    def client_in(self, process: Process) -> Connection:
        """The client that the tasks of a process are."""
        if process.client is None:
            process.client = self._connection(f"within{process.pid}".encode())
            self.engine.homes[process.client.owner] = process
        return process.client

    def disconnect(self, client: int, leaves: bool) -> None:
        """A client closes its connection, or its process dies; whoever uses it then has a new one."""
        gone, self.clients[client] = self.clients[client], self._connection()
        if leaves:
            gone.post(ClientDisconnect())
        else:
            gone.to_engine.clear()
            self.engine.client_gone(gone.owner)
        gone.lose(DisconnectedError("gone"))

    def lose_engine(self, heard: int) -> None:
        """The scheduler dies; each client still hears the first of its words that were under way."""
        self.engine.die()
        for connection in self.connections:
            connection.to_engine.clear()
            connection.deliver(heard)
            connection.to_client.clear()
            connection.lose(EngineLostError("gone"))
        self.engine = Engine(self.clock, self.engine.pids)
        self.clients = [self._connection() for _ in self.clients]

    def moves(self) -> list[tuple[str, Move]]:
        """What can go on by itself, a task's own code apart: what it is, and how."""
        moves = [move for connection in self.connections for move in self._messages(connection)]
        for process in self.engine.processes.values():
            moves += [(f"{what} {process.pid}", act) for what, act in self._steps(process)]
        return moves

    def _messages(self, connection: Connection) -> Iterator[tuple[str, Move]]:
        owner = connection.owner.decode()
        if connection.to_engine:
            yield f"messages of {owner} arrive", partial(self.engine.deliver, connection)
        if connection.to_client:
            yield f"messages for {owner} arrive", connection.deliver

    def _steps(self, process: Process) -> Iterator[tuple[str, Move]]:
        engine = self.engine
        if process.dead:
            yield "reap", lambda _: engine.reap(process, lingers=False)
            if not process.lingers:
                yield "reap, while something that it started lingers,", lambda _: engine.reap(process, lingers=True)
            return
        if process.killed:
            yield "death of", lambda _: process.die()
        if process.importing or not process.ready:
            yield "ready is", lambda _: engine.ready(process)
        if process.has_next:
            yield "a run begins on", lambda _: process.begin()
        if process.written:
            yield "read the end of a run from", lambda _: engine.read(process)

    def everything_moves(self) -> None:
        """Once: all messages arrive, every process and the engine take the next step."""
        for connection in self.connections:
            self.engine.deliver(connection, len(connection.to_engine))
        for process in list(self.engine.processes.values()):
            for _, move in islice(self._steps(process), 1):
                move(0)
        for connection in self.connections:
            connection.deliver(len(connection.to_client))

    def wake(self) -> None:
        """Time passes until the engine has something to do."""
        deadline = self.engine.core.next_deadline()
        if deadline is not None:
            self.clock.now = max(self.clock.now, deadline)
            self.engine.tick()

    def check(self) -> None:
        """Every rule that holds at every moment."""
        self._callbacks_run()
        for connection in self.connections:
            connection.check()
        self.engine.check()

    def _callbacks_run(self) -> None:
        """What was posted to the callback thread has run."""
        ends = [(job.ended, job.followers.callbacks) for job in self.jobs if job.ended is not None]
        if ends != self._ends:
            self._ends = ends
            callbacks_done()

    def drain(self) -> None:
        """Every message arrives, every process and client goes on, time passes: then everything must have ended."""
        for connection in self.connections:
            connection.post(ClientPause(False))
        for _ in range(20 + 10 * len(self.jobs)):
            self.everything_moves()
            for process in self.engine.processes.values():
                if process.obeys:
                    process.interrupted(obeys=True)
                elif process.works and (process.holds is None or process.holds.asked is None):
                    process.end(TaskEnd.SUCCESS)
            self.wake()
            self.check()
            if self._quiet():
                break
        for job in self.jobs:
            job.look(value_of(job.task_id))
            left = job.submitter and job.last == FORGOTTEN  # with the run that has submitted it
            assert job.future.done() or left, f"nothing is lost silently: {job}"
        assert self._quiet()
        assert self.engine.core.overview.running == []
        self.engine.check_empty()

    def _quiet(self) -> bool:
        under_way = any(c.to_engine or c.to_client for c in self.connections)
        working = any(
            p.holds or p.dead or p.killed or not p.ready or p.importing for p in self.engine.processes.values()
        )
        return not (under_way or working or self.engine.core.overview.has_queue or self.engine.core.next_deadline())
