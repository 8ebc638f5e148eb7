"""Reducers for tensors of torch and frames of polars, with their data out of band, and for functions of numpy.

Both libraries put the data into the pickle itself. Nothing here imports a library: types are known by name, and a
process that gets no such object loads none.
"""

import copyreg
import gc
import pickle
import sys
from collections.abc import Callable
from typing import Any


def dispatch_table() -> dict[type, Callable[[Any], Any]] | None:
    """Return the table of reducers for a plain pickler; None as long as no library is loaded that needs one."""
    loaded = [name for name in _LIBRARIES if name in sys.modules]
    if not loaded:
        return None
    ours = {
        cls: reducer
        for (module, name), reducer in REDUCERS.items()
        if module in _IN_BAND and (cls := getattr(sys.modules.get(module), name, None)) is not None
    }
    return {**copyreg.dispatch_table, **ours}


def _tensor(tensor: Any) -> Any:
    """Reduce a dense tensor in main memory; a view without gaps keeps its strides, any other becomes contiguous."""
    torch = sys.modules["torch"]
    if (
        tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or tensor.is_quantized
        or vars(tensor)
        or tensor._backward_hooks
    ):
        return tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    data = tensor.detach().resolve_conj().resolve_neg()
    if 1 + sum((n - 1) * step for n, step in zip(data.shape, data.stride(), strict=True)) != data.numel():
        data = data.contiguous()
    flat = data.as_strided((data.numel(),), (1,))
    try:
        buffer = pickle.PickleBuffer(flat.view(torch.uint8).numpy())
    except (RuntimeError, TypeError):  # torch was built without numpy, or its numpy is another
        return tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return _make_tensor, (buffer, dtype, tuple(data.shape), data.stride(), tensor.requires_grad)


def _make_tensor(buffer: Any, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], requires_grad: bool) -> Any:
    import torch  # type: ignore[import-not-found, unused-ignore]

    view = memoryview(buffer)
    kind = getattr(torch, dtype)
    if not view.nbytes:
        tensor = torch.empty(shape, dtype=kind)
    else:
        # A tensor can be written to whatever its memory says.
        tensor = torch.frombuffer(bytearray(view) if view.readonly else view, dtype=kind).as_strided(shape, strides)
    return tensor.requires_grad_() if requires_grad else tensor


def _frame(frame: Any) -> Any:
    """Reduce a frame or series of polars to the bytes that it is pickled as, which are Arrow's."""
    state = frame.__getstate__()
    if not isinstance(state, bytes):
        return frame.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return _make_frame, (type(frame), pickle.PickleBuffer(state))


def _make_frame(cls: Any, buffer: Any) -> Any:
    frame = cls.__new__(cls)
    frame.__setstate__(bytes(buffer))
    return frame


def _vectorized(ufunc: Any) -> Any:
    """Reduce a function of ``numpy.frompyfunc``, which numpy pickles by a name that does not exist.

    A ``numpy.vectorize`` that was called holds such a function, too.
    """
    if not ufunc.__name__.endswith(" (vectorized)"):
        return NotImplemented
    function = gc.get_referents(ufunc)[0]
    return _make_vectorized, (function, ufunc.nin, ufunc.nout, ufunc.identity)


def _make_vectorized(function: Any, nin: int, nout: int, identity: Any) -> Any:
    import numpy

    return numpy.frompyfunc(function, nin, nout, identity=identity)


REDUCERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("torch", "Tensor"): _tensor,
    ("polars.dataframe.frame", "DataFrame"): _frame,
    ("polars.lazyframe.frame", "LazyFrame"): _frame,
    ("polars.series.series", "Series"): _frame,
    ("numpy", "ufunc"): _vectorized,
}
# The libraries whose types the plain pickler gets reducers for: it would pickle them in band without an error.
_IN_BAND = {module: name for module, name in REDUCERS if not module.startswith("numpy")}
_LIBRARIES = {module.partition(".")[0] for module in _IN_BAND}
