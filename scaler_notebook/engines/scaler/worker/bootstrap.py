"""Code that is sent to workers as source and runs there first: it makes this package importable.

The module uses nothing but the standard library, and no name of this package outside of functions. A worker need not
have ``scaler_notebook`` installed: the modules come from the client, so both sides are of one version. What they import
beside the standard library has to be installed at the worker: cloudpickle always (Scaler needs it too).
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
ROOT = f"<{PACKAGE}>/"  # the prefix of file names of modules that came from a client


class Shipped(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """A finder and loader of the package's modules among sources that a client has sent.

    Parameters
    ----------
    sources
        The compressed sources by path within the package, e.g. ``protocol/encoding/wire.py``.
    digest
        A hash of all sources.
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
        """Find a module of the package among the sources.

        Parameters
        ----------
        fullname
            The name of the module.
        path, target
            Unused.
        """
        if fullname.partition(".")[0] != PACKAGE or (file := self._path(fullname)) not in self.sources:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=f"{ROOT}{file}", is_package=file.endswith("__init__.py")
        )
        if spec is not None:
            spec.has_location = True  # modules have their __file__
        return spec

    def get_source(self, fullname: str) -> str:
        """Return the source text of a module."""
        return zlib.decompress(self.sources[self._path(fullname)]).decode()

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module."""
        return compile(self.get_source(fullname), f"{ROOT}{self._path(fullname)}", "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        """Return whether a module is a package."""
        return self._path(fullname).endswith("__init__.py")


def runner(sources: dict[str, bytes], digest: str, version: tuple[int, int]) -> Callable[..., bytes]:
    """Return ``run`` of :mod:`scaler_notebook.engines.scaler.worker.runner`, in the client's version.

    Parameters
    ----------
    sources, digest
        As for :class:`Shipped`.
    version
        The client's Python version, e.g. ``(3, 12)``.

    Raises
    ------
    RuntimeError
        This worker's Python is of another version: code does not travel between versions.
    """
    here = sys.version_info[:2]
    if here != version:
        client, worker = (".".join(map(str, each)) for each in (version, here))
        raise RuntimeError(
            f"the client runs Python {client} and this worker Python {worker}: functions do not travel between "
            "versions of Python. Use the same on both sides"
        )
    if not any(getattr(finder, "digest", "") == digest for finder in sys.meta_path):
        # Modules of another client, or those installed here, may be of another version: tasks get their client's.
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != Shipped.__name__]
        sys.meta_path.insert(0, Shipped(sources, digest))
    run: Callable[..., bytes] = importlib.import_module(f"{PACKAGE}.engines.scaler.worker.runner").run
    return run
