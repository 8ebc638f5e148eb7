"""Checks of the packages: whether what this package needs is installed, in versions that work."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .finding import Finding

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)

INSTALL = "pip install --upgrade 'ipykernel>=6.29.5,!=7.0.*'"
# The oldest versions that pyproject.toml asks for; a test compares them.
NEEDED = {
    "pyzmq": "26",
    "msgpack": "1.0.8",
    "cloudpickle": "3.0",
    "nest-asyncio2": "1.7",
    "psutil": "5.9",
    "typing-extensions": "4.6",
}
WIDGETS = {"ipywidgets": "8.1", "anywidget": "0.9.18"}
KERNEL = "6.29.5"
FRONT_ENDS = {"jupyterlab": ("JupyterLab", "4.4"), "notebook": ("Notebook", "7.3"), "voila": ("Voilà", "0.5")}
LAB_EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "anywidget")


def check_python() -> Iterator[Finding]:
    """Check the interpreter, and the packages that the engine needs."""
    here = f"Python {platform.python_version()} at {sys.executable}"
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON or sys.implementation.name != "cpython":
        yield Finding("note", here, "CPython 3.10 to 3.13 is what this version is tested on")
    else:
        yield Finding("ok", here)
    for name, least in NEEDED.items():
        version = _installed_version(name)
        if version is None or _is_older(version, least):
            yield Finding("wrong", f"{name} {version or 'is missing'}", f"pip install --upgrade '{name}>={least}'")


def check_clusters() -> Iterator[Finding]:
    """Check the package that speaks to OpenGRIS Scaler's clusters."""
    version, least = _installed_version("opengris-scaler"), "2.9"
    if version is None:
        yield Finding("note", "no opengris-scaler: scaler:// clusters are not reached", "pip install opengris-scaler")
    elif _is_older(version, least):
        yield Finding("wrong", f"opengris-scaler {version}", f"pip install --upgrade 'opengris-scaler>={least}'")
    else:
        yield Finding("ok", f"opengris-scaler {version}, for scaler:// clusters")


def check_kernel() -> Iterator[Finding]:
    """Check ipykernel, some versions of which are known to be bad."""
    version = _installed_version("ipykernel")
    if version is None:
        yield Finding(
            "note",
            "ipykernel is not in this environment",
            f"for notebooks: {INSTALL}; plain scripts do not need it",
        )
    elif _is_older(version, KERNEL):
        yield Finding("wrong", f"ipykernel {version} is too old", INSTALL)
    elif _version_numbers(version)[:2] == (7, 0):
        yield Finding("wrong", f"ipykernel {version}: all of 7.0 is excluded", INSTALL)
    elif (7, 1) <= _version_numbers(version)[:2] < (7, 4):
        newest = sys.version_info >= (3, 11)
        yield Finding(
            "note",
            f"ipykernel {version}: up to 7.3 a request now and then stays unanswered"
            + ("" if newest else ", and 7.4 needs Python 3.11"),
            "pip install --upgrade 'ipykernel>=7.4'" if newest else "pip install 'ipykernel>=6.31,<7'",
        )
    elif _is_older(version, "7"):
        yield Finding(
            "ok",
            f"ipykernel {version}; buttons wait while a cell computes or sleeps by itself (7.4 has subshells for that, "
            "on Python 3.11 and newer)",
        )
    else:
        yield Finding("ok", f"ipykernel {version}")


def check_front_ends() -> Iterator[Finding]:
    """Check JupyterLab, Notebook and Voilà, where they are installed."""
    there = {title: (_installed_version(name), least) for name, (title, least) in FRONT_ENDS.items()}
    found = {title: (version, least) for title, (version, least) in there.items() if version is not None}
    if not found:
        yield Finding(
            "note",
            "no JupyterLab, Notebook or Voilà in this environment",
            "as it should be if the kernel is started from elsewhere (VS Code, a hub); else: pip install jupyterlab",
        )
    for title, (version, least) in found.items():
        if _is_older(version, least):
            yield Finding("note", f"{title} {version}", f"{least} or newer is what this version is tested on")
        else:
            yield Finding("ok", f"{title} {version}")


def check_widgets() -> Iterator[Finding]:
    """Check the packages that live cards and boards need, in Python and in the page."""
    bad = False
    for name, least in WIDGETS.items():
        version = _installed_version(name)
        if version is None or _is_older(version, least):
            bad = True
            yield Finding("wrong", f"{name} {version or 'is missing'}", f"pip install --upgrade '{name}>={least}'")
    missing = [name for name in LAB_EXTENSIONS if not _has_lab_extension(name)]
    if missing and not bad:
        yield Finding(
            "note" if _installed_version("jupyterlab") is None else "wrong",
            f"the page's part of {' and '.join(missing)} is not where this environment's JupyterLab looks",
            "pip install --force-reinstall jupyterlab_widgets anywidget, in the environment that runs JupyterLab; "
            "until then cards are static",
        )
    elif not bad:
        yield Finding("ok", ", ".join(f"{name} {_installed_version(name)}" for name in WIDGETS))


def _has_lab_extension(name: str) -> bool:
    """Return whether a labextension of this name is where JupyterLab looks for extensions."""
    homes = [os.environ.get("JUPYTER_PATH", ""), sys.prefix, "/usr/local", "/usr", os.path.expanduser("~/.local")]
    roots = [*homes[0].split(os.pathsep), *(f"{home}/share/jupyter" for home in homes[1:])]
    return any((Path(root) / "labextensions" / name / "package.json").exists() for root in roots if root)


def _installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _version_numbers(version: str) -> tuple[int, ...]:
    """Parse the numbers at the beginning of a version: ``7.0.0a1`` gives (7, 0, 0)."""
    return tuple(map(int, re.match(r"\d+(?:\.\d+)*", version).group().split(".")))  # type: ignore[union-attr]


def _is_older(version: str | None, least: str) -> bool:
    """Return whether a distribution is missing, or older than this version.

    Parameters
    ----------
    version
        The version that is installed; None for a missing distribution.
    least
        The oldest version that will do.
    """
    return version is None or _version_numbers(version) < _version_numbers(least)
