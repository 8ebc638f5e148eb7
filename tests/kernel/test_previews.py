"""What a view shows of a result is made where tasks run: the kernel stays the user's, whatever the value does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kernels import Kernel
from shared_kernels import SharedKernel

SETUP = """
import os, sys, time
%load_ext scaler_notebook
from scaler_notebook import *
ex = NotebookExecutor(n_workers=1, grace=0.3)
"""


@pytest.fixture
def running_kernel(shared_kernel: SharedKernel) -> Iterator[Kernel]:
    with shared_kernel.lent(SETUP) as k:
        yield k


def shown(k: Kernel, words: str) -> dict[str, Any]:
    """The forms of a card, once it shows ``words``."""
    message = k.until(
        lambda m: (
            m["msg_type"] in ("display_data", "update_display_data")
            and any(words in str(form) for form in m["content"]["data"].values())
        )
    )
    bundle: dict[str, Any] = message["content"]["data"]
    return bundle


HOSTILE = """
class Slow:
    def __repr__(self): time.sleep(60)
class Endless:
    def __repr__(self):
        while True:
            try:
                while True: pass
            except Exception: pass
class Leaving:
    def __repr__(self): raise SystemExit('no')
class Dying:
    def __repr__(self): os._exit(3)
class Broken:
    def __repr__(self): raise ValueError('unprintable')
"""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Slow", "its repr took more than 0.5 s"),
        pytest.param("Endless", "its repr took more than 0.5 s", marks=pytest.mark.matrix),
        ("Leaving", "whose repr raised SystemExit"),
        pytest.param("Broken", "whose repr raised ValueError('unprintable')", marks=pytest.mark.matrix),
        ("Dying", "Dying · "),
    ],
)
def test_whatever_a_repr_does_the_kernel_and_the_next_task_go_on(
    running_kernel: Kernel, value: str, words: str
) -> None:
    k = running_kernel
    k.run(HOSTILE)
    k.run(f"f = ex.submit({value}); wait([f]); f")
    shown(k, words)
    assert k.run("print(ex.submit(os.getppid).result(20) > 0, type(f.result()).__qualname__)").text == f"True {value}\n"
    assert k.run("print(len(ex.unfinished()))").text == "0\n"


def test_neither_a_repr_nor_an_unpickling_runs_in_the_kernel(running_kernel: Kernel, tmp_path: Any) -> None:
    k = running_kernel
    k.run(
        f"def opened(): open({str(tmp_path / 'pids')!r}, 'a').write(f'{{os.getpid()}} '); return Noted()\n"
        "class Noted:\n"
        "    def __reduce__(self): return opened, ()\n"
        "    def __repr__(self): return f'made by {os.getpid()}'"
    )
    assert not k.run("f = ex.submit(Noted); _ = wait([f])").error
    assert not (tmp_path / "pids").exists(), "nobody has looked yet"
    k.run("f")
    maker = shown(k, "made by ")["text/plain"].partition("made by ")[2].split()[0]
    kernel = k.run("print(os.getpid())").text.strip()
    assert maker != kernel
    assert (tmp_path / "pids").read_text().split() == [maker]
    assert k.run("print(repr(f.result()))").text == f"made by {kernel}\n", "whoever asks for it has it loaded here"


@pytest.mark.parametrize(
    ("value", "mime", "words"),
    [
        ("pandas.DataFrame({'a': range(1_000_000), 'b': 1.5})", "text/html", "1000000 rows × 2 columns"),
        pytest.param(
            "numpy.arange(3_000_000).reshape(1000, 3000)",
            "text/plain",
            "numpy.ndarray 1,000 × 3,000 int64 · 24.0 MB",
            marks=pytest.mark.matrix,
        ),
        pytest.param(
            "{'a': [1, 2.5, 'x'], 'b': numpy.float64(3)}",
            "text/plain",
            "{'a': [1, 2.5, 'x'], 'b': ",
            marks=pytest.mark.matrix,
        ),
        ("matplotlib.figure.Figure()", "text/html", "data:image/png;base64,"),
    ],
)
def test_known_types_are_shown_though_the_engine_has_ended(
    running_kernel: Kernel, value: str, mime: str, words: str
) -> None:
    k = running_kernel
    k.run(
        f"def made():\n    import matplotlib.figure, numpy, pandas\n    return {value}\n"
        "with NotebookExecutor(n_workers=1) as short: f = short.submit(made)\nf"
    )
    assert words in shown(k, words)[mime]


def test_a_view_that_comes_later_gets_a_preview_too_and_nobody_else_sees_how(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("class Model:\n    def __repr__(self): return 'Model(lr=0.1)'")
    k.run("f = ex.submit(Model); print(type(f.result()).__name__)")
    k.run("f")
    assert "Model · " in shown(k, "Model(lr=0.1)")["text/plain"]
    assert "preview" not in k.run("%scaler history").text
    assert "preview" not in k.run("%scaler status").text


def test_a_preview_is_first_in_line_and_a_cancel_of_all_leaves_it_alone(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("class Model:\n    def __repr__(self): return 'the model'")
    k.run("f = ex.submit(Model); f.result(); later = [ex.submit(time.sleep, 0.3) for _ in range(20)]")
    k.run("f")
    shown(k, "the model")
    assert k.run("print(later[-1].done()); ex.cancel_all()").text.startswith("False")


def test_what_the_front_end_renders_is_left_to_it(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("class Formula:\n    def _repr_latex_(self): return '$x^2$'\n    def __repr__(self): return 'a formula'")
    k.run("f = ex.submit(Formula); wait([f]); f")
    formula = k.until(lambda m: m["msg_type"] == "display_data" and "text/latex" in m["content"]["data"])
    assert formula["content"]["data"]["text/latex"] == "$x^2$"
    assert "a formula" in shown(k, "a formula")["text/html"]
    k.run("def note():\n    from IPython.display import Markdown\n    display(Markdown('**bold**'))\nex.submit(note)")
    k.until(lambda m: m["msg_type"] == "display_data" and "text/markdown" in m["content"]["data"])


def test_the_notebooks_own_formatters_stay_there(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run("class Half:\n    def __repr__(self): return 'one half'")
    k.run("get_ipython().display_formatter.formatters['text/html'].for_type(Half, lambda _: '<b>½</b>')")
    k.run("f = ex.submit(Half); wait([f]); f")
    assert "½" not in shown(k, "one half")["text/html"]


def test_what_a_preview_prints_and_a_results_end_are_not_the_next_tasks(running_kernel: Kernel) -> None:
    k = running_kernel
    k.run(
        "class Ends:\n    def __del__(self): time.sleep(0.02); print('ended')\n"
        "def figure():\n    from matplotlib.figure import Figure\n"
        "    Figure.savefig = lambda *_, **__: (time.sleep(0.1), print('from the preview'))\n    return Figure()"
    )
    k.run("figures = [ex.submit(figure) for _ in range(5)]  # more than there are processes, spares included")
    k.run("ends, second = ex.submit(Ends), ex.submit(print, 'mine'); wait([*figures, ends, second])")
    written = k.run("print({str(each.logs) for each in figures}, [str(each.logs) for each in (ends, second)])").text
    assert written == "{''} ['ended\\n', 'mine\\n']\n"
