"""Which names a cell needs from the notebook, and which it leaves: examples, then any program against Python itself."""

from __future__ import annotations

import ast
import builtins
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from scaler_notebook.notebook.magics.cells.names import analyse_names
from scaler_notebook.notebook.magics.cells.promised_names import PromisedNames
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.testing import detached_future

EXAMPLES: dict[str, tuple[str, str]] = {  # code → what it reads (builtins apart), what it assigns
    "df = load(); df.head()": ("load", "df"),
    "x += 1": ("x", "x"),
    "x = 1\nx += 1": ("", "x"),
    "for i in xs:\n    print(i, y)": ("xs y", "i"),
    "for row[key] in xs: pass": ("key row xs", ""),
    "while n: n -= 1\nelse: m = n": ("n", "m n"),
    "import numpy as np, os.path\nz = np.zeros(os.sep)": ("", "np os z"),
    "def f(a):\n    global g\n    g = a + k\n    return [q + w for q in a]": ("k w", "f g"),
    "def outer():\n    v = 1\n    def inner(): return v + u\n    return inner": ("u", "outer"),
    "await foo(x)\nasync for a in b: print(a)": ("b foo x", "a"),
    "async with s as t: t": ("s", "t"),
    "async def f():\n    await g(x)\n    return [i async for i in y]": ("g x y", "f"),
    "if c: t = 1\nprint(t)": ("c t", "t"),
    "if c: t = 1\nelse: t = 2\nprint(t)": ("c", "t"),
    "with open(p) as h: s = h.read()\ns": ("p", "h s"),
    "try: u = 1\nexcept E as e: print(e)\nu": ("E u", "e u"),
    "try: u = 1\nfinally: w = 2\nw": ("", "u w"),
    "[a for a in b if a > k]": ("b k", ""),
    "{a: b for a, b in c}": ("c", ""),
    "class A(B):\n    z = 1\n    def m(self): return z2": ("B z2", "A"),
    "@d\nclass A: pass\nA()": ("d", "A"),
    "x: int = 3\nx": ("", "x"),
    "lambda v: v + n": ("n", ""),
    "f = lambda: df\ndf = 3": ("df", "df f"),
    "del q": ("q", "q"),
    "print(f'{a!r:>{w}}')": ("a w", ""),
    "match p:\n    case {'a': k}: print(k)": ("k p", "k"),
    "y = x.attribute[key]": ("key x", "y"),
    "x[0] = y": ("x y", ""),
    "a, (b, *c) = d\na, b, c": ("d", "a b c"),
}


@pytest.mark.parametrize("code", EXAMPLES)
def test_names(code: str) -> None:
    found = analyse_names(ast.parse(code))
    reads, assigns = EXAMPLES[code]
    assert " ".join(name for name in found.reads if not hasattr(builtins, name)) == reads
    assert " ".join(found.assigns) == assigns
    assert not found.has_star_import


MAGICS: dict[str, tuple[str, str]] = {  # cell → what it mentions, what it assigns
    "!echo $N {m + 1}": ("N m", ""),
    "files = !ls {where}": ("where", "files"),
    "%time t = fit(X)": ("X fit", "t"),
    "%timeit -n 3 -q g(y)": ("g y", ""),
    "%cd {home}": ("home", ""),
    "fut = %scaler submit --name 'my task' --retries=2 model.fit(X, n=y)  # why": ("X model y", "fut"),
    "%scaler map f, [x for x in xs], ys": ("f xs ys", ""),
    "%scaler map fit alphas": ("alphas fit", ""),
    "%scaler result X": ("", ""),
    "%%bash {where}\necho $N {m}": ("where", ""),
    "get_ipython().run_line_magic(*given)": ("", ""),
    "%cd /tmp": ("", ""),
    "!echo {not python $": ("", ""),
}


@pytest.mark.parametrize("cell", MAGICS)
def test_names_in_magics(cell: str) -> None:
    found = analyse_names(ast.parse(TransformerManager().transform_cell(cell)))
    assert (" ".join(found.mentions), " ".join(found.assigns)) == MAGICS[cell]
    assert set(found.reads) - {"given"} == {"get_ipython"}


def test_a_star_may_bring_anything() -> None:
    found = analyse_names(ast.parse("from os import *\njoin(a)"))
    assert found.has_star_import
    assert "join" in found.reads


NAMES = st.sampled_from("abcdef")
EXPRESSIONS = st.recursive(
    NAMES | st.just("1"),
    lambda inner: (
        st.tuples(inner, inner).map(" + ".join)
        | st.tuples(NAMES, inner, inner).map(lambda t: f"sum([{t[1]} for {t[0]} in [{t[2]}]])")
        | st.tuples(NAMES, inner).map(lambda t: f"(lambda {t[0]}: {t[1]})(1)")
    ),
    max_leaves=4,
)
LINES = st.one_of(
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} += {t[1]}"),
    st.tuples(EXPRESSIONS, NAMES, EXPRESSIONS).map(lambda t: f"if {t[0]} > 1: {t[1]} = {t[2]}"),
    st.tuples(NAMES, EXPRESSIONS, NAMES).map(lambda t: f"for {t[0]} in [{t[1]}]: {t[2]} = {t[0]}"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"def g(): return {t[1]}\n{t[0]} = g()"),
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"try: {t[0]} = {t[1]}\nfinally: pass"),
)


@given(st.lists(LINES, min_size=1, max_size=6), st.dictionaries(NAMES, st.integers(0, 3)))
def test_with_what_it_reads_a_cell_runs_as_in_the_notebook(lines: list[str], notebook: dict[str, int]) -> None:
    """Given those names alone, it leaves the same values, or fails for want of the same name."""
    code = "\n".join(lines)
    found = analyse_names(ast.parse(code))

    def run(namespace: dict[str, object]) -> tuple[str, dict[str, object]]:
        problem = ""
        try:
            exec(code, namespace)
        except NameError as error:
            problem = str(error)
        changed = {name for name in namespace if namespace[name] != notebook.get(name)} - {"__builtins__"}
        assert changed <= set(found.assigns)
        return problem, {name: namespace[name] for name in found.assigns if name in namespace and name != "g"}

    there = run({name: value for name, value in notebook.items() if name in found.reads})
    here = run(dict(notebook))
    assert there[0] == here[0]
    left = {name: value for name, value in here[1].items() if name in there[1] or name not in notebook}
    assert there[1] == left


def test_a_name_is_waited_for_until_it_is_there_and_not_until_its_task_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = SimpleNamespace(register=lambda *_: None)
    promised, future = PromisedNames(), detached_future("a cell")
    promised.promise(SimpleNamespace(ast_transformers=[], events=events), ["model"], future)
    monkeypatch.setattr(settings, "wait_for_names", True)
    future.start()
    future.finish({"model": 1})
    assert promised.awaited(["model", "other"]) == ["model"]
    promised.settle(future)
    assert promised.awaited(["model", "other"]) == []
