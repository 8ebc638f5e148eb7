"""One virtual environment for each ipykernel that we support, and one with other libraries; made once and kept."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from kernels import Kernel, kernel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).parents[3]
HOME = ROOT / ".venv-kernels"
WITH_IPYTHON_8 = "6.29.5"
LIBRARIES = "libraries"  # the environment of docs/how-to/libraries.md, and of MCP, with the newest ipykernel
COLLABORATION, SERVER_DOCUMENTS = "collaboration", "server-documents"  # JupyterLab, with documents that servers hold
SERVERS = (COLLABORATION, SERVER_DOCUMENTS)
LAB = "jupyterlab>=4.6,<5"
MORE = {
    COLLABORATION: (LAB, "jupyter-collaboration"),
    SERVER_DOCUMENTS: (LAB, "jupyter-server-documents"),
    WITH_IPYTHON_8: ("ipython<9", "numpy", "pandas", "matplotlib", "plotly", "nbformat"),
    LIBRARIES: (
        *("adaptive", "dask[array]", "emcee", "lightgbm", "marimo", "mcp>=2,<3", "optuna"),
        *("pipefunc", "py-spy", "pytest", "scikit-learn", "scipy", "tqdm", "xgboost-cpu"),
    ),
}
MATRIX = pytest.mark.matrix
VERSIONS = (WITH_IPYTHON_8, "6.31.0", "7.3.0", "7.4.0")


def kernel_name(version: str) -> str:
    """The name of the kernel that runs in this environment."""
    return f"scaler-notebook-{version}"


def kernel_specs(version: str) -> KernelSpecManager:
    """Where that kernel is found; the first call of all makes its environment, in a quarter of a minute."""
    environment = HOME / version
    HOME.mkdir(exist_ok=True)
    with (HOME / f"{version}.lock").open("w") as lock:  # two test runs must not make it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(environment, version)
    return KernelSpecManager(kernel_dirs=[str(environment / "share" / "jupyter" / "kernels")])


def python_of(version: str) -> Path:
    """The Python of that environment."""
    kernel_specs(version)
    return HOME / version / "bin" / "python"


INSTALLED = "installed"  # what is there beside the tests
IPYTHONS = [pytest.param(INSTALLED, id="IPython 9"), pytest.param(WITH_IPYTHON_8, id="IPython 8", marks=MATRIX)]
IPYKERNELS = [INSTALLED, *(pytest.param(version, marks=MATRIX) for version in VERSIONS)]


def kernel_of(version: str, *arguments: str) -> AbstractContextManager[Kernel]:
    """A kernel of one of :data:`VERSIONS`, of :data:`LIBRARIES` or what is :data:`INSTALLED`; ends with the block."""
    if version == INSTALLED:
        return kernel(arguments=list(arguments))
    return kernel(kernel_name(version), kernel_specs(version), list(arguments))


def _make(environment: Path, version: str) -> None:
    stamp = environment / ".made-of"
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    more = MORE.get(version, ())
    made_of = "\n".join([sys.version, *project["dependencies"], *project["optional-dependencies"]["notebook"], *more])
    if stamp.exists() and stamp.read_text() == made_of:
        return
    venv.create(environment, clear=True, with_pip=True)
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    kernel_package = f"ipykernel=={version}" if version in VERSIONS else "ipykernel"
    subprocess.run([*pip, kernel_package, "--editable", f"{ROOT}[notebook]", *more], check=True)
    subprocess.run([python, "-m", "ipykernel", "install", "--sys-prefix", "--name", kernel_name(version)], check=True)
    stamp.write_text(made_of)


if __name__ == "__main__":
    for each in (*VERSIONS, LIBRARIES, *SERVERS):
        kernel_specs(each)
