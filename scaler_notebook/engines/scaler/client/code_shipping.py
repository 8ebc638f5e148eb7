"""The code that workers load before the first task of a client: this package, as source."""

import functools
import hashlib
import pickle
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scaler_notebook.engines.scaler.worker import bootstrap

NOT_SHIPPED = ("notebook/", "cli/")  # tasks have no use for these
HOME = Path(__file__).parents[3]

# Scaler's ``Serializer``, made of functions that both sides have. Workers load it for each task (2.9,
# ``object_cache.py``), so it is small: objects are pickled bytes already (``wire/packing.py``).
SERIALIZER = pickle.dumps(SimpleNamespace(serialize=bytes, deserialize=pickle.loads), 4)


class _Bootstrap:
    """An object that pickles as an expression that runs the bootstrap's source, and gives its ``runner``.

    No code object travels: a worker of another Python version could not load one, and so could not report the
    difference.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(self, *arguments: Any) -> Any:
        return bootstrap.runner(*arguments)

    def __reduce__(self) -> Any:
        run = f"exec(compile({self._source!r}, '<scaler_notebook bootstrap>', 'exec'), scope)"
        return eval, (f"(lambda scope: ({run}, scope['runner'])[1])({{'__name__': {bootstrap.__name__!r}}})",)


class _Runner:
    """An object that pickles as the call of the bootstrap's ``runner`` for these sources."""

    def __init__(self, sources: dict[str, bytes], digest: str) -> None:
        self._sources, self._digest = sources, digest

    def __reduce__(self) -> Any:
        source = zlib.decompress(self._sources["engines/scaler/worker/bootstrap.py"]).decode()
        return _Bootstrap(source), (self._sources, self._digest, sys.version_info[:2])


@functools.cache
def runner() -> bytes:
    """Return the pickled function of every task: some 200 kB, which a worker process loads once."""
    for finder in sys.meta_path:  # a task that is a client itself sends the sources that it was given
        if type(finder).__name__ == bootstrap.Shipped.__name__:
            return pickle.dumps(_Runner(finder.sources, finder.digest), 4)  # type: ignore[attr-defined]
    files = sorted(str(file.relative_to(HOME)) for file in HOME.rglob("*.py"))
    sources = {file: zlib.compress((HOME / file).read_bytes()) for file in files if not file.startswith(NOT_SHIPPED)}
    return pickle.dumps(_Runner(sources, hashlib.sha256(repr(sources).encode()).hexdigest()), 4)
