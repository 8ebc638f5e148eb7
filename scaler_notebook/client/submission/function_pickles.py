"""The pickles of the notebook's functions, made once for as long as nothing in them has changed."""

import weakref
from types import FunctionType
from typing import Any, NamedTuple

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload

from .function_fingerprint import MAIN, Fingerprint

LARGEST = 256 * 1024  # bytes of a pickle that is remembered


class _Pickle(NamedTuple):
    """The last pickle of a function.

    Parameters
    ----------
    payload
        The pickle.
    fingerprint
        What the pickle depends on; None if nobody has looked at that yet.
    """

    payload: Payload
    fingerprint: Fingerprint | None


_NONE_YET = _Pickle(Payload(b""), None)
_pickles: "weakref.WeakKeyDictionary[FunctionType, _Pickle | None]" = weakref.WeakKeyDictionary()  # None: no use to try


def dump(function: Any) -> Payload:
    """Pickle a function, or whatever else is called, as :func:`scaler_notebook.protocol.payloads.dump` does.

    The pickle of a function of ``__main__`` is remembered when a second one was the same: many functions are submitted
    once, and cost nothing more.

    Raises
    ------
    Exception
        Whatever the function's pickling raises.
    """
    if type(function) is not FunctionType or function.__module__ != MAIN:
        return payloads.dump(function)
    last = _pickles.get(function, _NONE_YET)
    if last is None:
        return payloads.dump(function)
    if last.fingerprint is not None and last.fingerprint.holds():
        return last.payload
    fingerprint = None
    if last is not _NONE_YET:
        try:
            fingerprint = Fingerprint(function)
        except Exception:  # Uncertain, or what the function's pickling raises too
            _pickles[function] = None
            return payloads.dump(function)
    payload = payloads.dump(function)
    if fingerprint is not None and not (payload.data == last.payload.data and fingerprint.holds()):
        fingerprint = None  # something has changed since the last pickle, or another thread changes it now
    _pickles[function] = _Pickle(payload, fingerprint) if len(payload.data) <= LARGEST and not payload.buffers else None
    return payload
