"""Rich displays made in tasks: IPython's display(), figures, updates, and the shell behind them."""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from typing import Any

import pytest
from waits import SAFETY, until, until_written

from scaler_notebook import CancelReason, NotebookExecutor
from scaler_notebook.client.task_state.output import Display
from scaler_notebook.protocol.messages import LogStream
from scaler_notebook.task.display.display_publisher import WIDGET_VIEW, clear, publish
from scaler_notebook.task.display.displays import task_shell

OUT, ERR = LogStream
INLINE = "module://matplotlib_inline.backend_inline"


class Rich:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Rich({self.text})"

    def _repr_html_(self) -> str:
        return f"<b>{self.text}</b>"


def bundle(text: str) -> dict[str, str]:
    return {"text/plain": f"Rich({text})", "text/html": f"<b>{text}</b>"}


def test_display_reaches_the_future_while_the_task_runs(executor: NotebookExecutor) -> None:
    def task() -> None:
        from IPython.display import display

        print("before")
        display(Rich("one"), Rich("two"), metadata={"text/html": {"isolated": True}})
        print("after")
        time.sleep(60)

    future = executor.submit(task)
    until(future, lambda: len(future.outputs()) == 4, "display")
    metadata = {"text/html": {"isolated": True}}
    shown = [Display(bundle(text), metadata) for text in ("one", "two")]
    assert future.outputs() == ((OUT, "before\n"), *shown, (OUT, "after\n"))
    assert future.displays == tuple(shown)
    assert future.logs.stdout == "before\nafter\n"


def test_display_needs_no_import_as_in_a_notebook(executor: NotebookExecutor) -> None:
    future = executor.submit(lambda: display(Rich("bare")))  # type: ignore[name-defined]  # noqa: F821
    future.result(SAFETY)
    assert [shown.bundle for shown in future.displays] == [bundle("bare")]


def test_a_task_without_ipython_pays_nothing(new_executor: NotebookExecutor) -> None:
    def task() -> list[str]:
        publish({"text/plain": "by hand"})
        return [name for name in sys.modules if name.partition(".")[0] in ("IPython", "traitlets")]

    future = new_executor.submit(task)
    assert future.result(SAFETY) == []
    assert future.displays == (Display({"text/plain": "by hand"}, {}),)


def test_displays_can_be_updated_and_cleared(executor: NotebookExecutor) -> None:
    def task() -> None:
        from IPython.display import clear_output, display, update_display

        display(Rich("lost"))
        clear_output()
        print("lost, too")
        clear_output(wait=True)
        handle = display(Rich("0"), display_id=True)
        print("text")
        update_display(Rich("never shown"), display_id="unknown")
        for number in range(3):
            handle.update(Rich(str(number)))

    future = executor.submit(task)
    future.result(SAFETY)
    shown, text = future.outputs()
    assert isinstance(shown, Display)
    assert shown.bundle == bundle("2")
    assert shown.display_id
    assert text == (OUT, "text\n")
    assert future.logs.stdout == "lost, too\ntext\n"


def test_clearing_by_hand(executor: NotebookExecutor) -> None:
    def task() -> None:
        print("lost")
        clear(wait=True)
        publish({"text/plain": "kept"})

    future = executor.submit(task)
    future.result(SAFETY)
    assert future.outputs() == (Display({"text/plain": "kept"}, {}),)


def test_images_are_text_and_widgets_are_left_out(executor: NotebookExecutor) -> None:
    def task() -> None:
        import ipywidgets
        from IPython.display import display

        publish({"image/png": b"\x89PNG", "text/plain": "<image>"}, {"image/png": {"width": 3}})
        display(ipywidgets.IntSlider(7))
        publish({WIDGET_VIEW: {"model_id": "nowhere"}})

    future = executor.submit(task)
    future.result(SAFETY)
    image, slider = future.displays
    assert base64.b64decode(image.bundle["image/png"]) == b"\x89PNG"
    assert image.metadata == {"image/png": {"width": 3}}
    assert list(slider.bundle) == ["text/plain"]
    assert "IntSlider" in slider.bundle["text/plain"]


def test_what_json_has_no_form_for(executor: NotebookExecutor) -> None:
    def task() -> None:
        import numpy as np

        publish({"application/json": {"number": np.float64(1.5), "set": {1}, "object": Rich("x"), 1: "one", (): 2}})
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        publish({"application/json": loop})

    future = executor.submit(task)
    assert isinstance(future.exception(SAFETY), ValueError)
    data = {"number": 1.5, "set": [1], "object": "Rich(x)", "1": "one"}
    assert future.displays == (Display({"application/json": data}, {}),)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # which go with a task; old matplotlibs misuse pyparsing
def test_figures_are_shown_where_they_are_shown_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def task(fails: bool) -> list[int]:
        import matplotlib.pyplot as plt

        before = list(plt.get_fignums())
        plt.plot([1, 2])
        plt.show()
        print("between")
        plt.plot([2, 1])
        print("left open")
        if fails:
            raise ValueError("after the figure")
        return before

    monkeypatch.setenv("MPLBACKEND", INLINE)
    with NotebookExecutor(n_workers=1) as executor:
        futures = [executor.submit(task, fails) for fails in (False, True, False)]
        for future in futures:
            error = future.exception(60)
            assert error is None or isinstance(error, ValueError)
            first, text, second = future.outputs()
            assert text == (OUT, "between\nleft open\n")
            for shown in (first, second):
                assert isinstance(shown, Display)
                assert base64.b64decode(shown.bundle["image/png"]).startswith(b"\x89PNG")
        assert futures[2].result(SAFETY) == [], "no figure is left to the next task"

        def returned() -> Any:
            import matplotlib.pyplot as plt

            plt.plot([1, 2])
            return plt.gcf()

        figure = executor.submit(returned)
        assert figure.result(SAFETY).axes
        assert figure.displays == (), "it is the result, and not shown twice"


def test_a_figure_that_cannot_be_drawn_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def task() -> int:
        import matplotlib.pyplot as plt

        plt.title("$\\nothing{$")
        return 1

    monkeypatch.setenv("MPLBACKEND", INLINE)
    with NotebookExecutor(n_workers=1) as executor:
        future = executor.submit(task)
        assert future.result(60) == 1
        assert "ValueError" in future.logs.stderr


def test_the_shell_is_one_for_all(executor: NotebookExecutor) -> None:
    def task() -> list[Any]:
        from IPython import get_ipython  # type: ignore[attr-defined, unused-ignore]
        from IPython.display import display

        before = set(threading.enumerate())
        main = sys.modules["__main__"]
        shell = get_ipython()
        display(1)
        name = type(shell).__name__
        same = task_shell() is shell is get_ipython()
        formatted = shell.display_formatter.format(Rich("value"))
        ran = shell.run_cell("%pwd\n1 / 0", store_history=False)
        shell.run_cell("40 + 2")
        quiet = before == set(threading.enumerate()) and main is sys.modules["__main__"]
        return [name, same, formatted, type(ran.error_in_exec).__name__, quiet]

    future = executor.submit(task)
    assert future.result(SAFETY) == ["TaskShell", True, (bundle("value"), {}), "ZeroDivisionError", True]
    assert [shown.bundle["text/plain"] for shown in future.displays] == ["1", "42"]
    assert str(future.logs) == ""


def test_a_shell_of_the_tasks_own_is_left_alone(new_executor: NotebookExecutor) -> None:
    def task() -> str:
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.display import display

        own = InteractiveShell.instance()
        display("printed")
        return type(task_shell()).__name__ if task_shell() is own else "another"

    future = new_executor.submit(task)
    assert future.result(SAFETY) == "InteractiveShell"
    assert future.outputs() == ((OUT, "'printed'\n"),)


def test_displays_of_cancelled_tasks_are_whole(executor: NotebookExecutor) -> None:
    """The interrupt comes at any moment of ten publishing tasks, and no record of theirs is torn."""

    def task() -> None:
        number = 0
        while True:
            publish({"text/plain": f"{number} " + "x" * 100_000}, display_id="same", update=number > 0)
            print(number)
            number += 1

    for _ in range(10):
        future = executor.submit(task)
        until(future, lambda future=future: bool(future.displays and future.logs.stdout), "display")  # type: ignore[misc]
        assert future.cancel(SAFETY)
        (shown,) = future.displays
        last = int(future.logs.stdout.splitlines()[-1])
        assert int(shown.bundle["text/plain"].split()[0]) in (last, last + 1)
        assert len(shown.bundle["text/plain"]) > 100_000


@pytest.mark.parametrize("animation", ["updated", pytest.param("cleared", marks=pytest.mark.matrix)])
def test_an_animation_keeps_nobody_waiting(executor: NotebookExecutor, animation: str) -> None:
    """A task displays far more than anybody can look at; a cancel is not behind that in a queue."""

    def task() -> None:
        frames = 0
        while True:
            frame = {"text/plain": f"{frames} " + "x" * 100_000}
            if animation == "cleared":
                clear(wait=True)
                publish(frame)
            else:
                publish(frame, display_id="frame", update=frames > 0)
            print(frames := frames + 1)

    seen: list[int] = []

    def look(future: Any) -> None:
        seen.extend(int(display.bundle["text/plain"].split()[0]) for display in future.displays)

    future = executor.submit(task)
    future.watch(look)
    until_written(future, "\n4000\n")
    asked = time.monotonic()
    assert future.cancel(SAFETY)
    assert future.cancel_reason is CancelReason.STOPPED
    assert time.monotonic() - asked < SAFETY / 2
    future.unwatch(look)
    assert len(set(seen)) < 400, "most frames were replaced before anybody could see them"
    assert seen == sorted(seen)
    (shown,) = future.displays
    assert abs(int(shown.bundle["text/plain"].split()[0]) - int(future.logs.stdout.split()[-1])) <= 1


def test_outside_of_a_task_nothing_is_published_and_nothing_raised() -> None:
    publish({"text/plain": "nowhere"})
    clear()


def test_a_fork_displays_too(executor: NotebookExecutor) -> None:
    def task() -> None:
        from IPython.display import display

        if os.fork() == 0:
            display(Rich("of the fork"))
            os._exit(0)
        os.wait()

    future = executor.submit(task)
    future.result(SAFETY)
    assert [shown.bundle for shown in future.displays] == [bundle("of the fork")]


def test_a_value_that_cannot_be_displayed_says_why(executor: NotebookExecutor) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no words")

    def task() -> int:
        display(Broken())  # type: ignore[name-defined]  # noqa: F821
        return 1

    future = executor.submit(task)
    assert future.result(SAFETY) == 1
    assert "ValueError: no words" in future.logs.stderr
