"""Modules of the user's: a task has those of its notebook, and no process has any before a task needs it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Callable, Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path

import cloudpickle
import pytest
from waits import SAFETY, until_running

from scaler_notebook import NotebookExecutor, TaskSerializationError

NAMES = ("own_module", "own_package", "own_other", "colorsys", "own-module.v1", "own_hidden")


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a test changes of this process is put back; it begins in an empty directory, which is on the path."""
    path, finders = list(sys.path), list(sys.meta_path)
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, "")
    kept = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    yield
    sys.path[:], sys.meta_path[:] = path, finders
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES or name in NAMES]:
        del sys.modules[name]
    sys.modules.update(kept)
    importlib.invalidate_caches()


def written(directory: str, text: str, name: str = "own_module.py") -> Path:
    file = Path(directory).absolute() / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    importlib.invalidate_caches()
    return file


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def many(executor: NotebookExecutor, function: Callable[[], object]) -> set[object]:
    """What a function gives in several processes at the same time."""

    def slow() -> object:
        time.sleep(0.05)
        return function()

    return {future.result(SAFETY) for future in [executor.submit(slow) for _ in range(6)]}


# ---------------------------------------------------------------------- ahead of need


def test_processes_that_run_no_task_import_no_module_of_the_users(tmp_path: Path) -> None:
    written(".", "import os\nopen(f'imported-{os.getpid()}', 'w').close()\n")

    def imports() -> int:
        import colorsys  # noqa: F401

        import own_module  # noqa: F401

        return os.getpid()

    def has() -> bool:
        return "colorsys" in sys.modules

    def next_has() -> bool:
        executor.submit(os._exit, 0).exception(SAFETY)
        return executor.submit(has).result(SAFETY)

    with NotebookExecutor(n_workers=1) as executor:
        pid = executor.submit(imports).result(SAFETY)
        wait_until(next_has)  # what is installed
        assert [each.name for each in tmp_path.glob("imported-*")] == [f"imported-{pid}"]


GUEST = """
import os, sys, time
from scaler_notebook import NotebookExecutor
os.chdir(sys.argv[2])
sys.path.insert(0, "")
import train
def who():
    time.sleep(0.05)
    return train.WHO
with NotebookExecutor(sys.argv[1]) as executor:
    print("ready", flush=True)
    for line in sys.stdin:
        print(*sorted({future.result(30) for future in [executor.submit(who) for _ in range(6)]}), flush=True)
"""


def test_notebooks_of_one_engine_do_not_see_each_others_modules() -> None:
    for name in ("a", "b"):
        written(name, f"WHO = {name!r}\nopen('ran', 'a').close()\n", "train.py")
    with NotebookExecutor(n_workers=2) as executor:
        guests = [
            subprocess.Popen(
                [sys.executable, "-c", GUEST, executor.address, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in ("a", "b")
        ]
        try:
            heard = []
            for guest in guests:
                assert guest.stdout is not None
                assert guest.stdout.readline() == "ready\n"
            for _ in range(3):
                for guest in guests:
                    assert guest.stdin is not None
                    assert guest.stdout is not None
                    guest.stdin.write("go\n")
                    guest.stdin.flush()
                    heard.append(guest.stdout.readline())
            assert heard == ["a\n", "b\n"] * 3
            assert many(executor, lambda: importlib.util.find_spec("train") is None) == {True}
        finally:
            for guest in guests:
                guest.communicate(timeout=SAFETY)


def test_a_task_does_not_wait_for_an_import_ahead_of_need(tmp_path: Path, install: Callable[[str], str]) -> None:
    started = tmp_path / "started"
    name = install(
        "import os, time\n"
        f"with open({str(started)!r}, 'a') as file: file.write('.')\n"
        f"if not os.environ.get('QUICK'): time.sleep({SAFETY} * 10)\n"
    )

    def imports() -> None:
        os.environ["QUICK"] = "1"
        importlib.import_module(name)

    with NotebookExecutor(n_workers=2) as executor:
        executor.submit(imports).result(SAFETY)
        wait_until(lambda: started.read_text() == "...")  # the others have begun to
        blockers = [executor.submit(time.sleep, 60) for _ in range(2)]
        for blocker in blockers:
            until_running(blocker)
        for blocker in blockers:
            blocker.cancel()


@pytest.mark.parametrize("library", ["import own_module", "try: import own_module\nexcept ImportError: pass"])
def test_what_would_import_one_of_the_users_is_not_imported_ahead_of_need(
    library: str, tmp_path: Path, install: Callable[[str], str]
) -> None:
    """As numpy does with ``secrets``, if there is a ``secrets.py`` beside the notebook."""
    name = install(f"{library}\nimport colorsys\n")
    written(".", "import os\nopen(f'imported-{os.getpid()}', 'w').close()\n")

    def imports() -> int:
        import zipapp  # noqa: F401

        importlib.import_module(name)
        return os.getpid()

    with NotebookExecutor(n_workers=1) as executor:
        pid = executor.submit(imports).result(SAFETY)
        assert "own_module" not in sys.modules
        for _ in range(3):
            executor.submit(os._exit, 0).exception(SAFETY)
            assert executor.submit(lambda: "own_module" in sys.modules).result(SAFETY) is False
        assert [each.name for each in tmp_path.glob("imported-*")] == [f"imported-{pid}"]
        executor.submit(imports).result(SAFETY)
        assert executor.submit(lambda: sys.modules[name].own_module.os is os).result(SAFETY)


# ---------------------------------------------------------------------- the notebook's very module


def test_after_a_change_of_directory_a_task_has_what_the_notebook_imports_then(new_executor: NotebookExecutor) -> None:
    written("a", "WHO = 1\n")
    written("b", "WHO = 2\n")
    os.chdir("a")
    new_executor.start()
    assert new_executor.submit(lambda: importlib.import_module("own_module").WHO).result(SAFETY) == 1
    os.chdir("../b")
    import own_module

    assert own_module.WHO == 2
    assert new_executor.submit(lambda: own_module.WHO).result(SAFETY) == 2
    assert many(new_executor, lambda: own_module.WHO) == {2}


def test_what_the_notebook_has_imported_stays_when_it_changes_its_directory(new_executor: NotebookExecutor) -> None:
    written("a", "WHO = 1\n")
    written("b", "WHO = 2\n")
    os.chdir("a")
    import own_module

    assert many(new_executor, lambda: own_module.WHO) == {1}
    os.chdir("../b")
    assert many(new_executor, lambda: own_module.WHO) == {1}
    assert many(new_executor, lambda: importlib.import_module("own_module").WHO) == {1}


@pytest.mark.parametrize("where", ["", "lib", "./lib", "lib/../lib"])
def test_a_relative_entry_of_the_path_leads_where_it_led(where: str, new_executor: NotebookExecutor) -> None:
    written(f"a/{where}", "def who(): return 'a'\n")
    written(f"b/{where}", "def who(): return 'b'\n")
    os.chdir("a")
    sys.path.insert(0, where)
    import own_module

    os.chdir("../b")
    assert own_module.who() == "a"
    assert new_executor.submit(own_module.who).result(SAFETY) == "a"
    assert new_executor.submit(lambda: own_module.who()).result(SAFETY) == "a"


def test_an_entry_that_is_a_path_counts_for_nothing_as_it_does_in_python(tmp_path: Path) -> None:
    written("lib", "def who(): return 'lib'\n")
    sys.path.insert(0, Path("lib"))  # type: ignore[arg-type]
    with NotebookExecutor(n_workers=1) as executor:
        assert executor.submit(abs, -1).result(SAFETY) == 1
        assert executor.submit(lambda: importlib.util.find_spec("own_module") is None).result(SAFETY)
        sys.path.insert(0, str(tmp_path / "lib"))
        assert executor.submit(importlib.import_module("own_module").who).result(SAFETY) == "lib"


def test_a_module_that_hides_an_installed_one(new_executor: NotebookExecutor) -> None:
    """A process that has imported the installed one for somebody else has the user's for this task."""
    where = "importlib.import_module('colorsys').__file__"
    assert str(new_executor.submit(eval, where, {"importlib": importlib}).result(SAFETY)).startswith(sys.base_prefix)
    file = written("a", "WHO = 1\n", "colorsys.py")
    os.chdir("a")
    assert many(new_executor, lambda: importlib.import_module("colorsys").__file__) == {str(file)}
    os.chdir("..")
    assert many(new_executor, lambda: importlib.import_module("colorsys").__file__) != {str(file)}


def test_a_module_that_only_tasks_import_is_never_served_stale(new_executor: NotebookExecutor) -> None:
    def who() -> str:
        return str(importlib.import_module("own_module").WHO)

    written(".", "WHO = 'old'\n")
    assert many(new_executor, who) == {"old"}
    written(".", "WHO = 'newer'\n")
    assert many(new_executor, who) == {"newer"}


# ---------------------------------------------------------------------- modules that no path leads to


def load_by_path(name: str, file: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


SOURCE = """
FACTOR = 3
class Point:
    def __init__(self, x): self.x = x
    def __eq__(self, other): return type(self) is type(other) and self.x == other.x
    def __hash__(self): return 1
def who(): return FACTOR
def point(x): return Point(x)
"""


def by_path() -> types.ModuleType:
    return load_by_path("own_module", written("elsewhere", SOURCE, "file.py"))


def by_path_under_no_name_of_a_module() -> types.ModuleType:
    return load_by_path("own-module.v1", written("elsewhere", SOURCE, "file.py"))


def by_path_from_a_file_of_another_suffix() -> types.ModuleType:
    name, file = "own_module", written("elsewhere", SOURCE, "plugin.conf")
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader.exec_module(module)
    return module


def by_hand() -> types.ModuleType:
    module = sys.modules["own_module"] = types.ModuleType("own_module")
    exec(SOURCE, module.__dict__)
    return module


def by_hand_in_a_package_by_hand() -> types.ModuleType:
    package = sys.modules["own_package"] = types.ModuleType("own_package")
    package.__path__ = []
    module = sys.modules["own_package.part"] = types.ModuleType("own_package.part")
    exec(SOURCE, module.__dict__)
    package.part = module  # type: ignore[attr-defined]
    return module


class Hook(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, origin="somewhere") if name == "own_module" else None

    def exec_module(self, module: types.ModuleType) -> None:
        exec(SOURCE, module.__dict__)


def by_an_import_hook() -> types.ModuleType:
    sys.meta_path.insert(0, Hook())
    return importlib.import_module("own_module")


def edited() -> types.ModuleType:
    written(".", SOURCE)
    module = importlib.import_module("own_module")
    written(".", SOURCE.replace("3", "4000"))
    return module


def gone() -> types.ModuleType:
    file = written(".", SOURCE)
    module = importlib.import_module("own_module")
    file.unlink()
    return module


def in_a_namespace_package() -> types.ModuleType:
    written("a/own_package", SOURCE, "part.py")
    os.chdir("a")
    module = importlib.import_module("own_package.part")
    os.chdir("..")
    return module


def a_package() -> types.ModuleType:
    written("a/own_package", "from .part import *\nfrom .part import __name__ as part_name\n", "__init__.py")
    written("a/own_package", SOURCE, "part.py")
    os.chdir("a")
    module = importlib.import_module("own_package.part")
    os.chdir("..")
    return module


def in_an_archive() -> types.ModuleType:
    file = written(".", SOURCE)
    with zipfile.ZipFile("library.zip", "w") as archive:
        archive.write(file, "own_module.py")
    file.unlink()
    sys.path.insert(0, os.path.abspath("library.zip"))
    return importlib.import_module("own_module")


def in_an_archive_that_the_path_leads_to_no_more() -> types.ModuleType:
    module = in_an_archive()
    del sys.path[0]
    return module


def touched() -> types.ModuleType:
    file = written(".", SOURCE)
    module = importlib.import_module("own_module")
    os.utime(file, (1, 1))
    return module


def edited_and_reloaded() -> types.ModuleType:
    written(".", SOURCE.replace("3", "4000"))
    module = importlib.import_module("own_module")
    written(".", SOURCE)
    return importlib.reload(module)


def edited_and_imported_anew() -> types.ModuleType:
    written(".", SOURCE.replace("3", "4000"))
    importlib.import_module("own_module")
    written(".", SOURCE)
    del sys.modules["own_module"]
    return importlib.import_module("own_module")


def of_another_that_was_edited() -> types.ModuleType:
    written(".", SOURCE)
    written(".", "from own_module import *\n", "own_other.py")
    module = importlib.import_module("own_other")
    written(".", "FACTOR = 4000\n")
    return module


def in_a_package_of_which_a_part_was_edited() -> types.ModuleType:
    written("own_package", "from . import part\n", "__init__.py")
    written("own_package", SOURCE, "part.py")
    written("own_package", "from .part import FACTOR, Point, who, point\n", "other.py")
    module = importlib.import_module("own_package.other")
    written("own_package", "FACTOR = 4000\n", "part.py")
    return module


WAYS = [
    in_an_archive,
    in_an_archive_that_the_path_leads_to_no_more,
    touched,
    edited_and_reloaded,
    edited_and_imported_anew,
    of_another_that_was_edited,
    in_a_package_of_which_a_part_was_edited,
    by_path,
    by_path_under_no_name_of_a_module,
    by_path_from_a_file_of_another_suffix,
    by_hand,
    by_hand_in_a_package_by_hand,
    by_an_import_hook,
    edited,
    gone,
    in_a_namespace_package,
    a_package,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_module_is_in_a_task_as_the_notebook_has_it(
    way: Callable[[], types.ModuleType], executor: NotebookExecutor
) -> None:
    module = way()
    assert executor.submit(module.who).result(SAFETY) == 3
    assert executor.submit(lambda: module.who()).result(SAFETY) == 3
    assert executor.submit(lambda: module.FACTOR).result(SAFETY) == 3
    assert executor.submit(lambda of: of.FACTOR, module).result(SAFETY) == 3
    assert executor.submit(lambda point: point.x, module.Point(5)).result(SAFETY) == 5
    assert executor.submit(module.point, 5).result(SAFETY) == module.Point(5), "the class is the notebook's own"


def test_what_a_compiled_module_makes_within_itself_comes_with_it(executor: NotebookExecutor) -> None:
    written("a/own_package", "from .core import part\n", "__init__.py")
    file = written("a/own_package", "import sys, types\npart = types.ModuleType('own_package.core.part')\n", "core.py")
    with file.open("a") as more:
        more.write("part.FACTOR = 3\nsys.modules[part.__name__] = part\n")
    sys.path.insert(0, os.path.abspath("a"))
    package = importlib.import_module("own_package")
    spec = sys.modules["own_package.core"].__spec__
    assert spec is not None
    spec.loader = ExtensionFileLoader(spec.name, str(file))
    package.part.__file__ = str(file)  # as pybind11 has it
    assert executor.submit(lambda: package.part.FACTOR).result(SAFETY) == 3
    assert executor.submit(lambda: importlib.import_module("own_package").part.FACTOR).result(SAFETY) == 3


def test_a_task_that_imports_by_itself_what_was_edited_fails_clearly(new_executor: NotebookExecutor) -> None:
    module = edited()

    def imports() -> object:
        return importlib.import_module("own_module").FACTOR

    with pytest.raises(ImportError, match="'own_module' as the notebook has it: its file was edited"):
        new_executor.submit(imports).result(SAFETY)
    importlib.reload(module)
    assert new_executor.submit(imports).result(SAFETY) == 4000


def test_what_was_submitted_before_an_edit_never_runs_what_was_written_after_it(executor: NotebookExecutor) -> None:
    module = touched()
    blockers = [executor.submit(time.sleep, 60) for _ in range(2)]
    for blocker in blockers:
        until_running(blocker)
    waiting = executor.submit(module.who)
    written(".", SOURCE.replace("3", "4000"))
    for blocker in blockers:
        blocker.cancel()
    with pytest.raises(ImportError, match="edited after the task was submitted"):
        waiting.result(SAFETY)
    assert executor.submit(module.who).result(SAFETY) == 3


def test_a_process_that_has_the_module_runs_what_was_submitted_before_an_edit_and_after_it() -> None:
    module = touched()

    def until_told() -> None:
        while not os.path.exists("go"):
            time.sleep(0.005)

    def who() -> tuple[object, int]:
        return module.who(), os.getpid()

    with NotebookExecutor(n_workers=1) as executor:
        first = executor.submit(who).result(SAFETY)
        blocker, waiting = executor.submit(until_told), executor.submit(who)
        until_running(blocker)
        written(".", SOURCE.replace("3", "4000"))
        later = executor.submit(who)
        Path("go").touch()
        assert waiting.result(SAFETY) == later.result(SAFETY) == first
        assert first[0] == 3


BEFORE = """
import sys
sys.path.insert(0, "")
import own_module
with open("own_module.py", "w") as file:
    file.write("def who(): return 'the newer'")
from scaler_notebook import NotebookExecutor
with NotebookExecutor(n_workers=1) as executor:
    print(executor.submit(own_module.who).result(30))
"""


def test_an_edit_is_noticed_of_a_module_that_was_imported_before_us() -> None:
    written(".", "def who(): return 'old'")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(
        [sys.executable, "-c", BEFORE], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "old\n"


def test_what_cannot_travel_of_a_module_made_by_hand_is_said_at_the_submit(executor: NotebookExecutor) -> None:
    module = by_hand()
    module.lock = threading.Lock()  # type: ignore[attr-defined]
    assert executor.submit(module.who).result(SAFETY) == 3
    with pytest.raises(TaskSerializationError, match="lock"):
        executor.submit(lambda: module.who())


def test_what_is_imported_again_travels_by_reference_again(executor: NotebookExecutor) -> None:
    module = edited()
    assert executor.submit(module.who).result(SAFETY) == 3
    assert "own_module" in cloudpickle.list_registry_pickle_by_value()
    importlib.reload(module)
    assert executor.submit(module.who).result(SAFETY) == 4000
    assert "own_module" not in cloudpickle.list_registry_pickle_by_value()


@pytest.mark.parametrize("name", ["json", "selectors", "socket", "random", "resource"])
def test_a_file_that_is_called_like_a_module_of_pythons_is_not_run_by_the_engine(
    name: str, new_executor: NotebookExecutor
) -> None:
    written(".", "open('ran', 'w').close()\n", f"{name}.py")
    assert new_executor.submit(abs, -1).result(SAFETY) == 1
    assert not Path("ran").exists()
