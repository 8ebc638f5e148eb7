"""Sent to workers as source, and run there before anything of ours is there: brings this package, or what is needed.

It knows nothing but the standard library, and no name of this package outside of the functions. A worker need not have
``scaler_notebook`` installed: its modules come from the client, so both sides are of one version. What they import
beside the standard library the task has to find there: cloudpickle always (Scaler needs it too).
"""

import importlib
import importlib.abc
import importlib.util
import sys
import zlib
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

PACKAGE = "scaler_notebook"
ROOT = f"<{PACKAGE}>/"  # before the file names of modules that came from a client


class Shipped(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the modules of the package among sources that a client has sent.

    Parameters
    ----------
    sources
        By path within the package, e.g. ``protocol/wire.py``.
    digest
        Of all of them.
    """

    def __init__(self, sources: dict[str, bytes], digest: str) -> None:
        self.digest = digest
        self.sources = sources

    def _path(self, name: str) -> str:
        inner = name.partition(".")[2].replace(".", "/")
        package = f"{inner}/__init__.py".lstrip("/")
        return package if package in self.sources else f"{inner}.py"

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE or (file := self._path(fullname)) not in self.sources:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=f"{ROOT}{file}", is_package=file.endswith("__init__.py")
        )
        if spec is not None:
            spec.has_location = True  # modules have their __file__
        return spec

    def get_source(self, fullname: str) -> str:
        return zlib.decompress(self.sources[self._path(fullname)]).decode()

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), f"{ROOT}{self._path(fullname)}", "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return self._path(fullname).endswith("__init__.py")


def runner(sources: dict[str, bytes], digest: str, version: tuple[int, int]) -> Callable[..., bytes]:
    """``run`` of :mod:`scaler_notebook.engines.scaler.worker.runner`, in the client's version.

    Parameters
    ----------
    sources, digest
        Those of :class:`Shipped`.
    version
        Of the client's Python, ``(3, 12)``.

    Raises
    ------
    RuntimeError
        Python is of another version here: code does not travel between versions.
    """
    here = sys.version_info[:2]
    if here != version:
        client, worker = (".".join(map(str, each)) for each in (version, here))
        raise RuntimeError(
            f"the client runs Python {client} and this worker Python {worker}: functions do not travel between "
            "versions of Python. Use the same on both sides"
        )
    if not any(getattr(finder, "digest", "") == digest for finder in sys.meta_path):
        # Another client's, of another version, or what is installed here: tasks get what their client has.
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != Shipped.__name__]
        sys.meta_path.insert(0, Shipped(sources, digest))
    run: Callable[..., bytes] = importlib.import_module(f"{PACKAGE}.engines.scaler.worker.runner").run
    return run
