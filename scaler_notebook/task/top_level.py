"""Engines that would be started without end: by a module that uses one when it is imported, in the processes of each.

A module whose functions are tasks is imported where they run. What its top level does is done there again, so an
executor that is used there would start an engine whose own processes import the module, and so on. As
:mod:`multiprocessing` does, the first of these imports is refused in words. What the refusal does not see (a thread
that the import has started, a script that a task runs) is bounded by how deep engines may nest.
"""

import os
import sys
from types import FrameType

from scaler_notebook.protocol.errors import EngineStartError

VARIABLE = "SCALER_NOTEBOOK_DEPTH"  # in how many engines, one within a task of the other, a process is
MAX_DEPTH = 4

_runs_tasks = False


def mark_task_process() -> None:
    """For what runs tasks: engines are no business of an import from now on."""
    global _runs_tasks
    _runs_tasks = True


def depth() -> int:
    """In how many engines, one within a task of the other, this process is."""
    found = os.environ.get(VARIABLE, "")
    return int(found) if found.isdecimal() else 0


def refuse_to_nest_deeper() -> None:
    """Raise an EngineStartError if this process is in as many engines as there may be."""
    if depth() >= MAX_DEPTH:
        raise EngineStartError(
            f"engines nest {depth()} deep here, each started within a task of another, and no deeper: is one started "
            "by a module that its own tasks import? Within a task NotebookExecutor(), without arguments, uses the "
            "engine that runs the task"
        )


def refuse_at_top_level() -> None:
    """Raise a RuntimeError if a module is being imported that uses an engine, and this process is not the user's own.

    Raises
    ------
    RuntimeError
        As :mod:`multiprocessing` says it.
    """
    process = sys.modules.get("multiprocessing.process")
    begins = process is not None and getattr(process.current_process(), "_inheriting", False)
    module = _being_imported(sys._getframe(1)) if _runs_tasks or begins else None
    if module is None:
        return
    name, where = module.f_globals.get("__name__"), f"{module.f_code.co_filename}, line {module.f_lineno}"
    raise RuntimeError(
        "An attempt has been made to use an engine before the current process has finished its bootstrapping phase.\n\n"
        f"The top level of the module {name} ({where}) does so. It is imported here by a process that "
        f"{'multiprocessing has started' if begins else 'runs tasks'}, and there it would start engines without end. "
        "Use executors in functions, or use the proper idiom in the main module:\n\n"
        "    if __name__ == '__main__':\n"
        "        ..."
    )


def _being_imported(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of a module's top level, of those within which the given frame is, that is being imported."""
    while frame is not None:
        caller = frame.f_back
        if frame.f_code.co_name == "<module>" and caller is not None:
            importing = caller.f_code.co_filename.startswith("<frozen importlib")
            if importing or frame.f_globals.get("__name__") == "__mp_main__":
                return frame
        frame = caller
    return None
