"""Names for users: those that ``dir(future)`` lists, and those that other libraries have for the same."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

Getter = TypeVar("Getter", bound=Callable[..., Any])

# Of a future's names those that docs/reference/futures.md describes.
OFFERED = """
    result exception done running cancelled cancel request_cancel request_cancel_unfinished cancel_async wait_for_answer
    cancel_reason refused state failed origin_name then retry rerun_here where profile add_done_callback on_update logs
    displays outputs progress trace profiling_info result_bytes widget task_id call tries gpus submitted_at started_at
    ended_at
""".split()  # noqa: SIM905  # forty lines otherwise

# By the name that ipyparallel, multiprocessing, Dask, Ray or joblib has.
OF_EXECUTORS = {
    "abort": "cancel_all()",
    "adapt": "scale(n), or NotebookExecutor(idle_timeout=seconds)",
    "apply": "submit(f, *args).result()",
    "apply_async": "submit(f, *args)",
    "apply_sync": "submit(f, *args).result()",
    "close": "shutdown()",
    "compute": "submit(f, *args), or get(graph, keys) for a graph",
    "gather": "scaler_notebook.gather(*futures), or results() of the group that map_async gives",
    "imap": "map(f, items), which yields results as they are wanted",
    "imap_unordered": "scaler_notebook.as_completed(map_async(f, items))",
    "join": "shutdown(), which waits",
    "map_sync": "list(map(f, items))",
    "persist": "submit(f, *args), whose future may be an argument of other submits",
    "put": "send_object(value)",
    "replicate": "send_object(value)",
    "retire_workers": "scale(n)",
    "scatter": "send_object(value), or map_async(f, items) for a call with each item",
    "starmap_async": "map_async(f, *zip(*items))",
    "terminate": "disconnect()",
}
OF_FUTURES = {
    "abort": "cancel()",
    "close": "cancel()",
    "get": "result()",
    "join": "scaler_notebook.wait([future])",
    "key": "task_id",
    "kill": "cancel()",
    "metadata": "profiling_info(), or trace()",
    "ready": "done()",
    "status": "state",
    "stderr": "logs.stderr",
    "stdout": "logs.stdout",
    "successful": "done() and not future.failed",
    "terminate": "cancel()",
    "traceback": "exception().__traceback__",
    "wait": "scaler_notebook.wait([future])",
}
OF_GROUPS = {
    "abort": "cancel()",
    "gather": "results()",
    "get": "results()",
    "join": "wait()",
    "ready": "done()",
    "result": "results()",
    "successful": "done() and not group.failed()",
}


def raise_missing(owner: Any, name: str, counterparts: Mapping[str, str]) -> NoReturn:
    """Raise the AttributeError for a name that an object does not have.

    Parameters
    ----------
    owner
        The object.
    name
        The name.
    counterparts
        What the object has instead, by names that others have.
    """
    __tracebackhide__ = True
    words = f"{type(owner).__name__!r} object has no attribute {name!r}"
    if name in counterparts:
        raise AttributeError(f"{words}; here it is {counterparts[name]}")
    raise AttributeError(words, name=name, obj=owner)


def untyped(getter: Getter) -> Getter:
    """Drop the annotation of a property's getter, at run time alone.

    jedi, which completes names in notebooks, fails on a ``Literal`` there, and with it the whole of ``ex.<Tab>``.
    """
    getter.__annotations__ = {}
    return getter
