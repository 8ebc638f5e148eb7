"""The configuration of a scheduler, which the client that starts the scheduler sends as JSON."""

from typing import TypedDict


class Config(TypedDict):
    """The configuration of a scheduler."""

    directory: str  # the engine's private directory, which the scheduler removes at its end
    slots: int  # how many tasks run at the same time
    spares: int  # how many more task processes there are
    capabilities: dict[str, int]  # how much there is of each in all
    gpus: list[str]  # the names of the devices that tasks may be given
    max_runs: int | None  # how many tasks a task process runs; None for any number
    idle_timeout: float  # seconds after which an idle task process goes; 0 for never
    kernel: int  # process id of the client that starts the scheduler
    keys: dict[str, str] | None  # to a TCP socket; None for a Unix socket
    port: int | None  # the port in the engine's address; 0 for any free one; None if the address has none
    link: str  # a path that leads to the Unix socket, which the scheduler removes at its end; empty for none
    protected: bool  # may no client shut the engine down?
    hello: int  # the descriptor for the hello; the client takes the end of that pipe for the end of the scheduler
