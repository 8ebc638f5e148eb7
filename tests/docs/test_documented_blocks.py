"""What the pages show to be typed does what they say: every block is run, as it stands, from the top of its page.

Three things stand for what a page cannot know: a free port for 8800, which may be in use; the tests' own cluster for
the one at ``scaler://host:8516``; and, for what a reader brings, the functions and data in :data:`BROUGHT`.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documented_blocks import ROOT, Block, agrees, blocks, claims, pages
from kernel_environments import LIBRARIES, kernel_of
from kernels import PATIENCE, Executed, Kernel, kernel
from ports import free_port
from scaler_cluster import shared

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

COMMAND = Path(sys.executable).with_name("scaler-notebook")
OF_LIBRARIES = "docs/how-to/libraries.md"  # of libraries that the tests' own environment lacks
VIEWS = {"application/vnd.jupyter.widget-view+json", "text/html"}
LEAVE = """
from scaler_notebook.client.executor import latest as _latest
while _latest() is not None: _latest().disconnect()
%reset -f
"""

# What stands for a reader's own work, before the first block of a page: functions and data, and nothing of ours.
MODEL = """
import time
from IPython.display import HTML, display
class Model:
    seconds = 60
    def summary(self): return "a summary"
def make_model():
    model = Model()
    model.seconds, model.made = 0, True
    return model
def fit(model, X, y):
    print("fitting")
    display(HTML("<b>fitting</b>"))
    time.sleep(model.seconds)
    return model
model, X, y = Model(), [1, 2, 3], [2, 4, 6]
models = [make_model() for _ in range(3)]
"""
BROUGHT = {
    "README.md": MODEL,
    "docs/how-to/magics.md": MODEL + "model = make_model()",
    "docs/magics.md": """
%load_ext scaler_notebook
def fit(x, y=0, alpha=1): return x
X, alphas, betas = 1, [1, 2], [3, 4]
""",
}

# What must be true after a block, named by a piece of it. What its comments say is looked at in any case.
AFTER = {
    "fut = ex.submit(fit, model, X, y) ": """
end = time.monotonic() + 20
while not fut.displays: assert time.monotonic() < end; time.sleep(0.01)
assert fut.logs.stdout == "fitting\\n"
""",
    "fut.cancel() ": """
assert fut.cancel_reason.value == "stopped"
model.seconds = 0
""",
    "group = ex.map_async(lambda m: fit(": """
assert isinstance(again.result(0), Model) and again.call == "fit(model, X, y)"
assert [type(each) for each in group.results()] == [Model] * 3
""",
    "fut = %scaler submit": "assert isinstance(fut.result(20), Model) and fut.call == 'fit(model, X, y)'",
    "%%scaler --out model": """
import asyncio
end = time.monotonic() + 20
while not hasattr(model, "made"): assert time.monotonic() < end; await asyncio.sleep(0.01)
assert "a summary" in str(_.outputs())
""",
    "slow = loop.run_in_executor(ex, time.sleep, 60)": """
end = time.monotonic() + 20
while ex.unfinished(): assert time.monotonic() < end; await asyncio.sleep(0.01)
""",
    'ex = NotebookExecutor("scaler://': "assert ex.submit(pow, 2, 3).result(20) == 8",
}


@pytest.fixture(scope="module")
def k() -> Iterator[Kernel]:
    with kernel() as started:
        yield started


@pytest.fixture(scope="module")
def with_libraries() -> Iterator[Kernel]:
    with kernel_of(LIBRARIES) as started:
        yield started


@pytest.fixture(scope="module")
def port() -> int:
    """One that is free."""
    return free_port()


@pytest.mark.parametrize("page", sorted({*pages()} - {OF_LIBRARIES}))
def test_every_block_of_a_page_does_what_it_says(page: str, k: Kernel, port: int) -> None:
    _run(page, k, port)


@pytest.mark.matrix
@pytest.mark.timeout(900)
def test_every_block_of_the_page_about_libraries_does_what_it_says(with_libraries: Kernel, port: int) -> None:
    _run(OF_LIBRARIES, with_libraries, port)


def _run(page: str, k: Kernel, port: int) -> None:
    """Run a page from its top to its end."""
    assert not k.run(BROUGHT.get(page, "")).error
    problems = []
    for block in blocks(page):
        try:
            assert block.language in KINDS, f"nobody here knows how to run what is {block.language}"
            KINDS[block.language](_here(block, port), k)
        except AssertionError as problem:
            said = str(problem).partition("\nassert ")[0]  # without pytest's own explanation
            problems.append(f"{block}: {said}")
        except Exception as problem:
            problems.append(f"{block}: {type(problem).__name__}: {problem}")
    assert not k.run(LEAVE).error
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_what_is_said_here_of_blocks_is_of_blocks_that_exist() -> None:
    existing = [block for page in pages() for block in blocks(page)]
    assert len(existing) > 30
    for piece in AFTER:
        assert any(piece in block.text for block in existing), piece


def test_what_comments_say_of_values_is_found() -> None:
    text = 'x = f()  # {"c": …}: all\ng()  # 3, but not displayed\n%scaler board\nx.cancel()  # True once it is gone'
    first, last = claims(Block("page", 10, "python", text))
    assert (first.line, first.name, first.value) == (10, "x", {"c": ...})
    assert (last.line, last.name, last.value) == (13, None, True)
    assert agrees(first.value, {"c": 3})
    assert not agrees(first.value, {"d": 3})
    assert not agrees(last.value, 1)


@pytest.mark.parametrize("page", pages())
def test_what_a_page_tells_to_make_and_to_install_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"`make ([a-z-]+)", text):
        _make(target)
    for extras in re.findall(r'pip install "[^"\[]*\[([\w,]+)\]"', text):
        _install(extras)


def _here(block: Block, port: int) -> Block:
    text = block.text.replace("tcp://127.0.0.1:8800", f"tcp://127.0.0.1:{port}")
    if "scaler://host:8516" in text:
        text = text.replace("scaler://host:8516", shared().address)
    return Block(block.page, block.line, block.language, text)


# ---------------------------------------------------------------------- cells


def _cell(block: Block, k: Kernel) -> None:
    """Run it; then look at what its comments say, and at what must be true after it."""
    executed = k.run(block.text)
    assert not executed.error, executed.error
    assert "UsageError" not in executed.text, executed.text
    for claim in claims(block):
        place = f"line {claim.line}, {claim.comment!r}"
        assert claim.name or executed.displays, f"{place}: nothing is displayed"
        if claim.name is None and re.search(r"\b(card|board)\b", claim.comment):
            assert VIEWS & set(executed.displays[-1]), f"{place}: {executed}"
        with contextlib.suppress(ValueError):
            value = claim.value
            found = _shown(executed) if claim.name is None else k.run(f"print(repr({claim.name}))").text
            assert agrees(value, ast.literal_eval(found.strip())), f"{place}: {found}"
    for piece, code in AFTER.items():
        if piece in block.text:
            checked = k.run(code)
            assert not checked.error, f"after it, {checked.error} in {code}"


def _shown(executed: Executed) -> str:
    return str(executed.displays[-1]["text/plain"])


def _help(block: Block, k: Kernel) -> None:
    """A text is the help of a magic, whose examples run too."""
    usage = re.match(r"usage: (%?%scaler(?: \w+)?) ", block.text)
    assert usage is not None, "neither code nor the help of a magic"
    assert k.run(f"{usage[1]} --help" + "\npass" * usage[1].startswith("%%")).text.strip() == block.text.strip()
    for example in re.finditer(r"^    ((\w+) = %scaler \w+ .+)$", block.text, re.MULTILINE):
        executed = k.run(f"{example[1]}\nprint({example[2]}.result{'s' * (example[2] == 'group')}())")
        assert not executed.error, f"{example[1]}: {executed.error}"
        assert executed.text.strip(), f"{example[1]} was not run"


# ---------------------------------------------------------------------- a terminal


def _terminal(block: Block, k: Kernel) -> None:
    """Run its lines one after the other; what runs until Ctrl-C is in another terminal, and has ended at the end."""
    words = [shlex.split(line, comments=True) for line in block.text.splitlines()]
    with contextlib.ExitStack() as cleaning:
        elsewhere = []
        for line in filter(None, words):
            match line:
                case ["make", target]:
                    _make(target)
                case ["pip", "install", what]:
                    _install(what.partition("[")[2].rstrip("]"))
                case ["scaler-notebook", "cluster", *options] if "--detach" not in options:
                    elsewhere.append(_begun(cleaning, options))
                case ["scaler-notebook", *arguments]:
                    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE)
                    assert done.returncode == 0, f"{shlex.join(line)}: {done.stdout}{done.stderr}"
                    if arguments == ["status"]:
                        assert all(address in done.stdout for _, address in elsewhere), done.stdout
                case _:
                    raise AssertionError(f"nobody here knows how to run {shlex.join(line)}")
        for process, address in elsewhere:
            assert process.wait(PATIENCE) == 0, address


def _begun(cleaning: contextlib.ExitStack, options: list[str]) -> tuple[subprocess.Popen[str], str]:
    """A cluster that runs, and its address."""
    process = cleaning.enter_context(
        subprocess.Popen([COMMAND, "cluster", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    )
    cleaning.callback(process.kill)
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"runs at (\S+)", said)
    assert found is not None, said + process.stdout.read()
    return process, found[1]


def _make(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {target}"


def _install(extras: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    unknown = set(filter(None, extras.split(","))) - set(project["optional-dependencies"])
    assert not unknown, f"no such extras: {unknown}"


# ---------------------------------------------------------------------- drawings


def _drawing(block: Block, k: Kernel) -> None:
    """Of states: what moves one to another does so in the table below the drawing. Of processes: its own test."""
    head, *arrows = block.text.splitlines()
    if head.startswith("flowchart"):
        return  # ``test_architecture`` looks at its folders
    assert head == "stateDiagram-v2"
    below = (ROOT / block.page).read_text().splitlines()[block.line + len(arrows) + 2 :]
    rows = [line.strip("|").split("|") for line in itertools.takewhile(lambda line: line.startswith("|"), below)]
    table = {row[0].strip(): dict(zip(map(str.strip, rows[0]), row, strict=True)) for row in rows}
    drawn = [re.fullmatch(r"    (\S+) --> (\S+)(?: : (.+))?", arrow) for arrow in arrows]
    for found in drawn:
        assert found is not None, arrows
        if found[3] is None:
            assert "[*]" in (found[1], found[2]), found[0]
        else:
            for event in found[3].split("<br>"):
                assert re.search(rf"\*\*.*\b{found[2]}\b.*\*\*", table[event][found[1]]), f"{found[0]}: {event}"


KINDS: dict[str, Callable[[Block, Kernel], None]] = {
    "python": _cell,
    "text": _help,
    "": _terminal,
    "bash": _terminal,
    "mermaid": _drawing,
    "json": lambda block, _: json.loads(block.text),
}
