"""Refusal of engines that modules would start without end when they are imported by task processes.

A module whose functions are tasks is imported where they run, which runs the module's top level again. An executor that
is used there would start an engine whose own processes import the module, and so on. As :mod:`multiprocessing` does,
the first of these imports is refused with an explanation. Cases that the refusal does not see (a thread that the import
has started, a script that a task runs) are bounded by how deep engines may nest.
"""

import os
import sys
from types import FrameType

from scaler_notebook.protocol.errors import EngineStartError

VARIABLE = "SCALER_NOTEBOOK_DEPTH"  # the environment variable with the result of depth()
MAX_DEPTH = 4

_runs_tasks = False


def mark_task_process() -> None:
    """Mark this process as one that runs tasks: from now on an import must not start an engine."""
    global _runs_tasks
    _runs_tasks = True


def depth() -> int:
    """Return in how many engines this process runs, each started within a task of the one before."""
    found = os.environ.get(VARIABLE, "")
    return int(found) if found.isdecimal() else 0


def refuse_to_nest_deeper() -> None:
    """Raise if this process runs in as many nested engines as there may be.

    Raises
    ------
    EngineStartError
        Engines are nested too deeply.
    """
    if depth() >= MAX_DEPTH:
        raise EngineStartError(
            f"engines nest {depth()} deep here, each started within a task of another, and no deeper: is one started "
            "by a module that its own tasks import? Within a task NotebookExecutor(), without arguments, uses the "
            "engine that runs the task"
        )


def refuse_at_top_level() -> None:
    """Raise if a module that is being imported uses an engine, and this process is not the user's own.

    Raises
    ------
    RuntimeError
        With the explanation that :mod:`multiprocessing` gives.
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
    """Return the innermost frame, from the given one outwards, of a module that is being imported; else None."""
    while frame is not None:
        caller = frame.f_back
        if frame.f_code.co_name == "<module>" and caller is not None:
            importing = caller.f_code.co_filename.startswith("<frozen importlib")
            if importing or frame.f_globals.get("__name__") == "__mp_main__":
                return frame
        frame = caller
    return None
