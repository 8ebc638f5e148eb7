"""A place in the scheduler at which an exception is thrown: by a ``sitecustomize`` that the scheduler starts with."""

from __future__ import annotations

from pathlib import Path

import pytest

SITE = """
import os, sys

def patch(place, at):
    import importlib
    module, _, name = place.rpartition(":")
    owner = importlib.import_module("scaler_notebook.engines.local.scheduler." + module)
    *path, method = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, method), [0]

    def thrown(*args, **kwargs):
        calls[0] += 1
        if calls[0] == at and os.getpid() == scheduler:
            open(os.environ["THROWN_AT"] + ".happened", "w").close()
            raise RuntimeError("thrown by a test")
        return original(*args, **kwargs)

    setattr(owner, method, thrown)

try:
    place, at = open(os.environ["THROWN_AT"]).read().split()
except (OSError, KeyError):
    pass
else:
    if "engines.local.scheduler" in " ".join(sys.orig_argv):
        scheduler = os.getpid()
        patch(place, int(at))
"""


def throw(place: str, at: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the next engine's scheduler throw, at the so-manieth call of a function; gives a file that tells of it.

    Parameters
    ----------
    place
        ``MODULE:CLASS.METHOD`` of the scheduler.
    """
    (directory / "sitecustomize.py").write_text(SITE)
    told = directory / "thrown"
    told.write_text(f"{place} {at}")
    monkeypatch.setenv("THROWN_AT", str(told))
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return Path(f"{told}.happened")
