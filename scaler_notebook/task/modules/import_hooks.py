"""Actions on the import of a module, so that a module which a task never imports costs nothing."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Act = Callable[[Any], object]


def after_import(name: str, act: Act) -> None:
    """Call ``act(module)`` once a module has been imported; at once if it was imported before.

    Parameters
    ----------
    name
        The name of the module.
    act
        The action.
    """
    module = sys.modules.get(name)
    if module is not None:
        act(module)
    else:
        sys.meta_path.insert(0, _ImportHookFinder(name, act))


class _ImportHookFinder(MetaPathFinder):
    def __init__(self, name: str, act: Act) -> None:
        self._name = name
        self._act = act

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ImportHookLoader(spec.loader, self._act)
        return spec


class _ImportHookLoader(Loader):
    def __init__(self, loader: Loader, act: Act) -> None:
        self._loader = loader
        self._act = act

    def __getattr__(self, name: str) -> Any:  # for get_source and the like, which tracebacks need
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._act(module)
