"""The moments at which functions of scaler_notebook are entered and left, in every process of an engine.

Python imports this where the directory is on ``PYTHONPATH``. ``BENCHMARK_TIMELINE`` names a directory, to which each
process writes a file of lines ``nanoseconds entered? name``, by the clock that all processes of a machine share.
``BENCHMARK_TIMELINE_POINTS`` has the functions, as ``module:name`` or ``module:Class.name``, separated by commas.
"""

import functools
import importlib.machinery
import os
import sys
import time
from typing import Any

_directory = os.environ.get("BENCHMARK_TIMELINE", "")
_points = [each.partition(":")[::2] for each in os.environ.get("BENCHMARK_TIMELINE_POINTS", "").split(",")]
_file = (0, -1)  # the process that has opened it, and the descriptor


def _note(name: str, entered: bool) -> None:
    global _file
    now, pid = time.monotonic_ns(), os.getpid()
    if _file[0] != pid:
        path = os.path.join(_directory, str(pid))
        _file = pid, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.write(_file[1], f"{now} {int(entered)} {name}\n".encode())


def _timed(name: str, function: Any) -> Any:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        _note(name, True)
        try:
            return function(*args, **kwargs)
        finally:
            _note(name, False)

    return timed


class _Finder:
    """Finds the modules of the points as ever, and replaces their functions once they are loaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        names = [point for module, point in _points if module == name]
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if names else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_replace(module: Any) -> None:
            execute(module)
            for point in names:
                owner: Any = module
                *owners, last = point.split(".")
                for each in owners:
                    owner = getattr(owner, each)
                setattr(owner, last, _timed(point, owner.__dict__[last]))

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec


if _directory:
    sys.meta_path.insert(0, _Finder)
