"""What a worker of a Scaler cluster loads, in an interpreter that has nothing of ours."""

from __future__ import annotations

import pickle
import sys
import zlib
from pathlib import Path

import cloudpickle
import psutil
import pytest
from interpreters import python

from scaler_notebook.engines.scaler.client import code_shipping
from scaler_notebook.engines.scaler.wire.packing import content, pack
from scaler_notebook.engines.scaler.worker import bootstrap
from scaler_notebook.protocol.messages import Payload


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """Where an interpreter finds cloudpickle and psutil, and nothing of ours."""
    for module in (cloudpickle, psutil):
        assert module.__file__ is not None
        (tmp_path / module.__name__).symlink_to(Path(module.__file__).parent)
    return str(tmp_path)


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


LOAD = "import pickle; load = lambda file: pickle.load(open(file, 'rb')); "


def test_a_worker_without_this_package_loads_the_runner(bare: str, tmp_path: Path) -> None:
    code = f"""{LOAD}
import importlib.util
assert importlib.util.find_spec("scaler_notebook") is None
run = load(sys.argv[1])
import scaler_notebook.engines.scaler.worker.runner as remote
assert run is remote.run
assert load(sys.argv[1]) is run, "loaded again it is the same"
from scaler_notebook.engines.scaler.wire.packing import unpack
try:
    unpack(b"")
except Exception as error:
    code = error.__traceback__.tb_next.tb_frame.f_code
    print(remote.__file__, code.co_filename, type(error).__name__)
import linecache
assert "def run(" in "".join(linecache.getlines(remote.__file__, remote.__dict__))
"""
    said = python(code, written(tmp_path / "runner", code_shipping.runner()), isolated=bare)
    root = f"{bootstrap.ROOT}engines/scaler"
    assert said == f"{root}/worker/runner.py {root}/wire/packing.py ProtocolError\n"


def test_the_serializer_needs_nothing_of_ours(bare: str, tmp_path: Path) -> None:
    code = f"""{LOAD}
serializer = load(sys.argv[1])
print(serializer.deserialize(load(sys.argv[2]) and open(sys.argv[2], "rb").read()), serializer.serialize(b"same"))
assert not any(name.startswith("scaler_notebook") for name in sys.modules)
"""
    value = pack(Payload(b"x"))
    said = python(
        code,
        written(tmp_path / "serializer", code_shipping.SERIALIZER),
        written(tmp_path / "value", value),
        isolated=bare,
    )
    assert said == f"{bytes(content(value))!r} b'same'\n"


def test_another_python_is_told_so(bare: str, tmp_path: Path) -> None:
    code = f"""{LOAD}
sys.version_info = (3, 99, 0)
try:
    load(sys.argv[1])
except RuntimeError as error:
    print(error)
assert not any(name.startswith("scaler_notebook") for name in sys.modules)
"""
    said = python(code, written(tmp_path / "runner", code_shipping.runner()), isolated=bare)
    here = ".".join(map(str, sys.version_info[:2]))
    assert f"the client runs Python {here} and this worker Python 3.99" in said


def variant(words: str) -> bytes:
    """The runner of a client with another version of this package."""
    files = {
        str(file.relative_to(code_shipping.HOME)): file.read_bytes()
        for file in code_shipping.HOME.rglob("*.py")
        if not str(file.relative_to(code_shipping.HOME)).startswith(code_shipping.LEFT_HERE)
    }
    files["engines/scaler/worker/runner.py"] += f"\nWORDS = {words!r}\n".encode()
    return pickle.dumps(code_shipping._Runner({name: zlib.compress(text) for name, text in files.items()}, words), 4)


def test_another_versions_modules_are_replaced(bare: str, tmp_path: Path) -> None:
    """Those of another client, and those that are installed."""
    installed = tmp_path / "scaler_notebook"
    installed.mkdir()
    (installed / "__init__.py").write_text("installed = True\n")
    code = f"""{LOAD}
import scaler_notebook
assert scaler_notebook.installed
for file in sys.argv[1:]:
    run = load(file)
    import scaler_notebook
    assert not hasattr(scaler_notebook, "installed")
    print(run.__globals__["WORDS"], len([f for f in sys.meta_path if type(f).__name__ == "Shipped"]))
"""
    one, two = (written(tmp_path / words, variant(words)) for words in ("one", "two"))
    assert python(code, one, two, one, isolated=bare).split("\n") == ["one 1", "two 1", "one 1", ""]


def test_a_task_that_is_a_client_hands_on_what_it_was_given(bare: str, tmp_path: Path) -> None:
    code = f"""{LOAD}
given = load(sys.argv[1])
from scaler_notebook.engines.scaler.client import code_shipping as shipping
assert pickle.loads(shipping.runner()) is given
sys.stdout.buffer.write(shipping.runner().hex().encode())
"""
    said = python(code, written(tmp_path / "runner", variant("mine")), isolated=bare)
    handed_on = written(tmp_path / "handed on", bytes.fromhex(said))
    code = f"{LOAD}print(load(sys.argv[1]).__globals__['WORDS'])"
    assert python(code, handed_on, isolated=bare) == "mine\n"


def test_what_a_worker_has_no_use_for_stays_here() -> None:
    travels = code_shipping.runner()
    assert b"engines/scaler/worker/runner.py" in travels
    assert str(code_shipping.HOME).encode() not in travels
    assert not any(left.encode() in travels for left in code_shipping.LEFT_HERE)
