"""Interpreters of their own, for what must not depend on what is loaded here."""

from __future__ import annotations

import subprocess
import sys

from waits import SAFETY


def python(code: str, *arguments: str, isolated: str | None = None) -> str:
    """What a process of its own prints; ``isolated``: where it finds modules, and it finds no others."""
    options = ["-I", "-S"] if isolated is not None else []
    path = f"import sys; sys.path.insert(0, {isolated!r}); " if isolated is not None else ""
    command = [sys.executable, *options, "-c", f"{path}{code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SAFETY, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
