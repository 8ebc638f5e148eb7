"""The name of this package's backend, known to joblib in a task: there nobody has imported the module that says it."""

import importlib
from typing import Any

from .import_hooks import after_import

NAME = "scaler_notebook"


def name_backend() -> None:
    """Have joblib, once it is imported in this process, import the backend where its name is used."""
    after_import("joblib.parallel", _name)


def _name(parallel: Any) -> None:
    """Add the backend to those that joblib has: ``Parallel`` looks for no others, as ``parallel_config`` does."""
    parallel.BACKENDS.setdefault(NAME, _new_backend)


def _new_backend(**options: Any) -> Any:
    """Return a new backend."""
    # By its name: what runs in tasks imports nothing of what calls them.
    return importlib.import_module("scaler_notebook.interop.joblib").ScalerBackend(**options)
