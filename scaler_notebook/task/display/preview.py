"""Previews of results, made in a process that runs tasks: text, HTML, pictures.

Making a preview may run the user's code (a ``repr``), which may be slow, fail, or never end. So a preview is made after
the value has been sent, never in the kernel, and within :data:`SECONDS`; parts that are made by then are used.
"""

import contextlib
import io
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import FrameType
from typing import Any

from . import displays
from .display_publisher import as_json, publish
from .summary import known

SECONDS = 0.5  # for all parts of one preview
MAX_TEXT = 2_000  # characters
MAX_RICH = 1_000_000  # characters or bytes of the data of one MIME type
MAX_PIXELS = 800  # width and height of a picture
SEVERAL = "*/*"  # data of several MIME types at once
SHARE = 0.1  # the fraction of its time that a process spends on previews at most
FREE_SECONDS = 0.5  # seconds that a process may spend on previews before SHARE counts


class _TimeIsOver(BaseException):
    """The time for a preview is over. A BaseException, so that the user's code does not handle it as an error."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`_TimeIsOver`, within ``with``, after so many seconds, and again. Only on a main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over = False

    def ring(signum: int, frame: FrameType | None) -> None:
        if not is_over:
            raise _TimeIsOver

    before = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        is_over = True  # one store; a signal after that has no effect
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before if before is not None else signal.SIG_DFL)  # None: a handler set in C


class Representations:
    """The representations of one value by MIME type, as far as they were made.

    Parameters
    ----------
    value
        The value.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self.bundle: dict[str, Any] = {}

    def make(self, makers: "Mapping[str, Callable[[Any], Any]]") -> dict[str, Any]:
        """Make representations one after the other, and return the bundle.

        A maker that fails, or makes too much, is skipped; one that takes too long ends the method. The bundle has text
        in each case. A maker under :data:`SEVERAL` returns data by MIME type.

        Parameters
        ----------
        makers
            Functions of the value, by MIME type.
        """
        try:
            with time_limit(SECONDS):
                for mime, maker in makers.items():
                    self._add(mime, maker)
        except _TimeIsOver:
            self.bundle.setdefault("text/plain", f"<its repr took more than {SECONDS} s>")
        return self.bundle

    def _add(self, mime: str, maker: "Callable[[Any], Any]") -> None:
        try:
            data = maker(self._value)
        except (KeyboardInterrupt, _TimeIsOver):
            raise
        except BaseException as error:  # SystemExit too, which must not end the process
            if mime == "text/plain":
                self.bundle[mime] = f"<{type(self._value).__name__}, whose repr raised {_words(error)}>"
            return
        if mime == SEVERAL:
            for each, form in dict(data or {}).items():
                self._add(each, partial(_given, form))
        elif mime == "text/plain":
            text = str(data)
            self.bundle[mime] = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
        elif isinstance(data, dict | list):
            if len(json.dumps(data, default=str)) <= MAX_RICH:
                self.bundle[mime] = data
        elif data is not None and len(data) <= MAX_RICH:
            self.bundle[mime] = data


def _given(form: Any, _: Any) -> Any:
    return form


def _words(error: BaseException) -> str:
    try:
        return repr(error)
    except Exception:
        return type(error).__name__


def bundle_of_known_type(value: Any) -> dict[str, Any]:
    """Return the MIME bundle of a value whose type :mod:`.summary` knows; other values have their text."""
    library, name = known(type(value)), type(value).__name__
    if library in ("pandas", "polars") and name == "DataFrame":
        makers: dict[str, Callable[[Any], Any]] = {"text/plain": repr, "text/html": lambda frame: frame._repr_html_()}
    elif library == "PIL":
        makers = {"text/plain": repr, "image/png": _thumbnail}
    elif library == "matplotlib":
        makers = {"text/plain": repr, "image/png": _drawn}
    else:
        makers = {"text/plain": repr}
    return Representations(value).make(makers)


def _thumbnail(image: Any) -> bytes:
    small = image.copy()
    small.thumbnail((MAX_PIXELS, MAX_PIXELS))
    if small.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I"):
        small = small.convert("RGB")
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()


def _drawn(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()


def show(value: Any) -> None:
    """Display the preview of a value: the function of the task that makes a preview on request.

    Methods of the value (``_repr_html_`` and its like) and formatters that libraries have registered with IPython in
    this process count, as in a notebook. Not used are formatters that were registered in the notebook alone, and
    ``_ipython_display_``.
    """
    makers: dict[str, Callable[[Any], Any]] = {"text/plain": repr}
    forms = Representations(value)
    with contextlib.suppress(ImportError):
        formatter = displays.task_shell().display_formatter
        makers |= {mime: _maker_of(each) for mime, each in formatter.formatters.items() if mime != "text/plain"}
        makers[SEVERAL] = _maker_of(formatter.mimebundle_formatter)
    if known(type(value)) == "matplotlib":
        makers["image/png"] = _drawn
    publish(forms.make(makers))


def _maker_of(formatter: Any) -> "Callable[[Any], Any]":
    """Return a maker that applies a formatter of IPython; unlike the formatter's own call, it prints no failure."""

    def ask(value: Any) -> Any:
        try:
            printer = formatter.lookup(value)
        except KeyError:
            method = getattr(value, formatter.print_method, None) if not isinstance(value, type) else None
            data = method() if callable(method) else None
        else:
            data = printer(value)
        return data[0] if isinstance(data, tuple) else data  # the other part is metadata

    return ask


class PreviewBudget:
    """The time that a process may spend on previews that nobody has asked for."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._spent = 0.0

    def allows_another(self) -> bool:
        """Return whether another preview may be made."""
        return self._spent <= FREE_SECONDS + SHARE * (time.monotonic() - self._began)

    def make(self, value: Any) -> bytes:
        """Return the MIME bundle of a value of a cheap type, as JSON."""
        began = time.monotonic()
        try:
            return as_json(bundle_of_known_type(value))
        except Exception:  # the summary has to do
            return b"{}"
        finally:
            self._spent += time.monotonic() - began
