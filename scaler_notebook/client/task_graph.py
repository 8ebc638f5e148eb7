"""Graphs of tasks, as OpenGRIS Scaler's ``Client.get`` has them: a dictionary of values and of calls of other nodes.

``{"a": 2, "b": (inc, "a"), "c": (add, "a", "b")}``: a tuple that begins with something callable is a call, and what
follows names the nodes whose values it gets; anything else is a value.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.future_events import ResultArrived
from scaler_notebook.protocol.messages import Payload, TaskOptions, TaskResult, TaskResultType
from scaler_notebook.protocol.states import CancelReason
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.wording import with_article

from .futures.future import CANCEL_TIMEOUT, ScalerFuture
from .futures.group import FutureGroup
from .session.session import Session
from .session_log import live_groups
from .submission.call_pickling import PickledCall
from .submission.call_text import for_browsers, function_name, shorten
from .task_state.observed_task import ObservedTask
from .task_state.references import ObjectReference


class CallNode(NamedTuple):
    """A node that is computed.

    Parameters
    ----------
    function
        What is called.
    needs
        The names of the nodes whose values are the arguments.
    """

    function: Callable[..., Any]
    needs: tuple[str, ...]


class GraphFutures(dict[str, ScalerFuture[Any]]):
    """The futures of the keys that were asked for, in that order.

    Parameters
    ----------
    futures
        The futures, by key.
    group
        The futures of every node that is computed for the keys, which the board shows with the edges between them. The
        value of a node that is no key stays with the engine: its future has no result to give.
    """

    def __init__(self, futures: Mapping[str, ScalerFuture[Any]], group: FutureGroup[Any]) -> None:
        super().__init__(futures)
        self.group = group

    def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the values of the keys; waits, and raises, as :meth:`FutureGroup.results`."""
        __tracebackhide__ = True
        return dict(zip(self, FutureGroup(self.values()).results(timeout), strict=True))

    def widget(self) -> Any:
        """Return a live board of the graph, as :meth:`FutureGroup.widget`."""
        return self.group.widget()

    def request_cancel(self, force: bool = True, grace: float | None = None) -> None:
        """Ask for the end of the whole graph, what becomes ready later included, and return at once.

        Parameters
        ----------
        force, grace
            As for :meth:`ScalerFuture.request_cancel`.
        """
        self.group.request_cancel(force, grace)

    def cancel(self, timeout: float | None = CANCEL_TIMEOUT, force: bool = True, grace: float | None = None) -> bool:
        """Cancel what has not ended of the whole graph; parameters and result are those of :meth:`FutureGroup.cancel`.

        Parameters
        ----------
        timeout, force, grace
            As for :meth:`FutureGroup.cancel`.
        """
        return self.group.cancel(timeout, force, grace)


def cull(graph: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return the part of a graph that the keys need, each node after those that it needs: calls as :class:`CallNode`.

    Parameters
    ----------
    graph
        Values and calls by name, as the user gave them.
    keys
        The names whose values are wanted, which are in the graph.

    Raises
    ------
    TypeError
        An argument of a call is no text.
    KeyError
        What a call names is not in the graph.
    graphlib.CycleError
        Nodes need each other; its ``args[1]`` lists them.
    """
    needs: dict[str, tuple[str, ...]] = {}
    nodes: dict[str, Any] = {}
    to_see = list(keys)
    while to_see:
        key = to_see.pop()
        if key in nodes:
            continue
        node = graph[key]
        if isinstance(node, tuple) and node and callable(node[0]):
            node = CallNode(node[0], node[1:])
            _check_call(graph, key, node)
        nodes[key] = node
        needs[key] = node.needs if isinstance(node, CallNode) else ()
        to_see += needs[key]
    return {key: nodes[key] for key in TopologicalSorter(needs).static_order()}


def checked_keys(graph: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Return the keys that are asked for, as a list.

    Parameters
    ----------
    graph
        Values and calls by name, as the user gave them.
    keys
        The names whose values are wanted.

    Raises
    ------
    TypeError
        The graph is no dictionary with texts as keys, or ``keys`` is one text.
    KeyError
        A key is not in the graph, or asked for twice.
    """
    if not isinstance(graph, Mapping):
        raise TypeError(
            f"a graph is a dictionary of values and calls by name, not {with_article(type(graph).__name__)}"
        )
    for key in graph:
        if not isinstance(key, str):
            raise TypeError(f"the keys of a graph are texts, not {key!r:.60} ({with_article(type(key).__name__)})")
    if isinstance(keys, str) or not isinstance(keys, Iterable):
        raise TypeError(f"keys is a list of keys of the graph, not {keys!r:.60}; for one, [{keys!r:.60}]")
    wanted = list(keys)
    twice = [key for key, count in Counter(wanted).items() if count > 1]
    if twice:
        raise KeyError(f"asked for more than once: {', '.join(map(repr, twice))}")
    for key in wanted:
        if key not in graph:
            raise KeyError(f"{key!r:.60} is asked for and not in the graph{did_you_mean(key, graph, repr)}")
    return wanted


def _check_call(graph: Mapping[str, Any], key: str, node: CallNode) -> None:
    """Raise a TypeError or a KeyError if a call names what is no node of the graph.

    Parameters
    ----------
    graph
        Values and calls by name.
    key
        The name of the call's node, for messages.
    node
        The call.
    """
    for name in node.needs:
        if not isinstance(name, str):
            raise TypeError(
                f"node {key!r}: what follows {function_name(node.function)} are keys of the graph, not {name!r:.60} "
                f"({with_article(type(name).__name__)}); give that value a key of its own"
            )
        if name not in graph:
            raise KeyError(f"node {key!r} needs {name!r}, which is not in the graph{did_you_mean(name, graph, repr)}")


def submit_graph(
    nodes: Mapping[str, Any],
    keys: list[str],
    session: Session,
    new: Callable[[TaskOptions], ScalerFuture[Any]],
    pickled: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], PickledCall],
    options_of_all: TaskOptions,
) -> GraphFutures:
    """Submit the nodes of a graph; nothing is sent before all of it is pickled.

    Parameters
    ----------
    nodes
        The nodes, as :func:`cull` returns them.
    keys
        The names whose values come to this process.
    session
        The session that the tasks are sent over.
    new
        Makes a future of the session, from the options of its task.
    pickled
        Pickles a call.
    options_of_all
        The options of every node, but for its name.
    """
    wanted = set(keys)
    futures: dict[str, ScalerFuture[Any]] = {}
    options: dict[str, TaskOptions] = {}
    calls: dict[str, PickledCall] = {}
    at_once: dict[str, Payload] = {}
    for key, node in nodes.items():
        if not isinstance(node, CallNode) and key not in wanted:
            continue
        options[key] = _named(options_of_all, _node_text(key, node))
        futures[key] = new(options[key])
        if isinstance(node, CallNode):
            values = tuple(futures[name] if isinstance(nodes[name], CallNode) else nodes[name] for name in node.needs)
            calls[key] = pickled(node.function, values, {})
        elif isinstance(node, ObjectReference):
            calls[key] = pickled(_identity, (node,), {})
        else:
            at_once[key] = payloads.dump(node)
    needed = {name for node in nodes.values() if isinstance(node, CallNode) for name in node.needs}
    tasks = []
    for key, call in calls.items():
        future, retain, returns_value = futures[key], key in needed, key in wanted
        tasks.append((future, session.tasks.new_task(future, call, options[key], retain, returns_value)))
    session.tasks.submit(tasks, release=[futures[key].task_id for key in calls if key in needed])
    for key, value in at_once.items():
        future = futures[key]
        future.handle(ResultArrived(TaskResult(future.task_id, TaskResultType.SUCCESS, value)))
    _cancel_dependants_of_late_results(nodes, futures)
    places = {key: place for place, key in enumerate(calls)}
    edges = [
        (places[name], places[key])
        for key in calls
        if isinstance(nodes[key], CallNode)
        for name in dict.fromkeys(nodes[key].needs)
        if name in places
    ]
    group = FutureGroup([futures[key] for key in calls], f"graph of {len(calls)}", edges)
    live_groups.add(group)
    return GraphFutures({key: futures[key] for key in keys}, group)


def _cancel_dependants_of_late_results(nodes: Mapping[str, Any], futures: Mapping[str, ScalerFuture[Any]]) -> None:
    """Cancel what needs a node whose result came after its cancel: the engine may have handed that value on.

    Parameters
    ----------
    nodes
        The nodes by name.
    futures
        The futures by name.
    """
    dependants: dict[str, list[ScalerFuture[Any]]] = {}
    for key, node in nodes.items():
        if isinstance(node, CallNode):
            for name in dict.fromkeys(node.needs):
                dependants.setdefault(name, []).append(futures[key])
    for name, theirs in dependants.items():
        if name in futures:
            futures[name].watch(_CancelCascade(theirs))


class _CancelCascade:
    """A watcher of a node that cancels the dependants if the node's result came after its cancel."""

    def __init__(self, dependants: list[ScalerFuture[Any]]) -> None:
        self._dependants = dependants

    def __call__(self, changed: ObservedTask) -> None:
        """Cancel the dependants if the node has ended so; called after each change."""
        if changed.done():
            changed.unwatch(self)
            if changed.cancel_reason is CancelReason.FINISHED_FIRST:
                for dependant in self._dependants:
                    dependant.request_cancel_unfinished()


def _node_text(key: str, node: Any) -> str:
    """Return how a node reads for a person.

    Parameters
    ----------
    key
        The node's name.
    node
        A call, a reference or a value.
    """
    if isinstance(node, CallNode):
        return f"{key} = {function_name(node.function)}({', '.join(node.needs)})"
    return f"{key} = {node.name}" if isinstance(node, ObjectReference) else key


def _named(options: TaskOptions, name: str) -> TaskOptions:
    """Return options with a name.

    Parameters
    ----------
    options
        The options.
    name
        The name, cut if it is too long.
    """
    return replace(options, name=shorten(for_browsers(name)))


def _identity(value: Any) -> Any:
    """Return the value: what a node that is a reference calls."""
    return value
