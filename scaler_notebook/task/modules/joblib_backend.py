"""The name of this package's backend, known to joblib in a task: there nobody has imported the module that says it."""

import importlib
from typing import Any

from .import_hooks import after_import

NAME = "scaler_notebook"


def name_backend() -> None:
    """Have joblib, once it is imported in this process, import the backend where its name is used."""
    after_import("joblib.parallel", _name)


def _name(parallel: Any) -> None:
    """Add the backend to those that joblib imports on demand, as it does with Dask's."""
    backend = "scaler_notebook.interop.joblib"  # by its name: what runs in tasks imports nothing of what calls them
    parallel.EXTERNAL_BACKENDS.setdefault(NAME, lambda: importlib.import_module(backend))
