"""The data of arrays, frames and tensors travel out of band, whichever library of those that are installed has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.messages import Payload

SMALL = 16 * 1024  # bytes that the pickle itself may have
LAYOUTS = {
    "contiguous": "t",
    "transposed": "t.T",
    "permuted": "t.reshape(20, 50, 5, 20).permute(0, 3, 1, 2)",
    "with gaps": "t[:, ::2]",
    "rows": "t[10:90]",
    "one row": "t[5]",
    "repeated": "t[:1].expand(50, 1000)",
    "empty": "t[:0]",
    "a number": "t[3, 4]",
}
TYPES = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "complex64", "bool", "int8", "uint8", "int64"]
SPARSE = ("csr_matrix", "csc_array", "coo_matrix", "bsr_array")


def travelled(value: Any) -> tuple[Any, Payload]:
    payload = payloads.copied(payloads.dump(value))
    return payloads.load(payload), payload


def out_of_band(payload: Payload) -> int:
    """How many bytes are; what stays in the pickle is little."""
    assert len(payload.data) < SMALL
    return sum(memoryview(buffer).nbytes for buffer in payload.buffers)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("dtype", TYPES)
def test_tensors_of_any_type_and_layout(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    matrix = torch.arange(100_000).reshape(100, 1000).to(getattr(torch, dtype))
    for layout, expression in LAYOUTS.items():
        t = eval(expression, {"t": matrix})
        arrived, payload = travelled(t)
        assert arrived.dtype == t.dtype
        assert arrived.shape == t.shape
        assert arrived.to(torch.complex64).equal(t.to(torch.complex64)), layout
        size = t.numel() * t.element_size()
        assert out_of_band(payload) == (size if size >= payloads.OUT_OF_BAND else 0)
        if layout in ("transposed", "permuted"):
            assert arrived.stride() == t.stride()


def test_a_tensor_is_as_it_was_and_another_one() -> None:
    torch = pytest.importorskip("torch")
    t = torch.ones(100, 100, requires_grad=True)
    for sent in (t, t * 2, (t * 2).T):
        arrived, payload = travelled(sent)
        assert arrived.requires_grad
        assert arrived.is_leaf
        assert out_of_band(payload) == 40_000
    plain = torch.zeros(100, 100)
    arrived, payload = travelled({"a": [plain]})
    arrived["a"][0].add_(1)
    assert not plain.any()
    arrived = payloads.load(Payload(payload.data, tuple(bytes(b) for b in payload.buffers)))  # type: ignore[arg-type]
    arrived["a"][0].add_(1)  # memory that says it is not to be written to


def test_modules_and_optimizers() -> None:
    torch = pytest.importorskip("torch")
    tied = torch.nn.Sequential(torch.nn.Embedding(100, 100), torch.nn.Linear(100, 100, bias=False))
    tied[1].weight = tied[0].weight
    arrived, payload = travelled(tied)
    assert arrived[0].weight is arrived[1].weight
    assert isinstance(arrived[0].weight, torch.nn.Parameter)
    assert out_of_band(payload) == 40_000
    optimizer = torch.optim.Adam(tied.parameters())
    tied(torch.zeros(5, dtype=torch.int64)).sum().backward()
    optimizer.step()
    assert out_of_band(travelled(optimizer)[1]) == 3 * 40_000


@pytest.mark.parametrize(
    "made",
    [
        "torch.eye(300).to_sparse()",
        "torch.randn(5000, dtype=torch.complex64).conj()",
        "torch.randn(5000, dtype=torch.complex64).conj().imag",
        "torch.nn.Parameter(torch.ones(9))",
        "torch.ones(9).as_subclass(type('T', (torch.Tensor,), {}))",
    ],
)
def test_other_tensors_arrive_too(made: str) -> None:
    torch = pytest.importorskip("torch")
    sent = eval(made, {"torch": torch})
    arrived, _ = travelled(sent)
    assert arrived.to_dense().equal(sent.to_dense()) if sent.is_sparse else arrived.equal(sent)
    assert type(arrived).__name__ == type(sent).__name__


def test_attributes_of_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    t = torch.ones(9)
    t.note = "mine"
    assert travelled(t)[0].note == "mine"


@pytest.mark.parametrize("pick", [lambda df: df, lambda df: df["a"], lambda df: df.lazy(), lambda df: [df, df["c"]]])
def test_frames_of_polars(pick: Callable[[Any], Any]) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {
            "a": range(50_000),
            "b": [None, 1.5] * 25_000,
            "c": polars.Series(["u", "v"] * 25_000, dtype=polars.Categorical),
            "d": [[1, 2]] * 50_000,
        }
    )
    sent = pick(frame)
    arrived, payload = travelled(sent)
    assert out_of_band(payload) > 50_000
    for before, after in zip(*(each if isinstance(each, list) else [each] for each in (sent, arrived)), strict=True):
        before, after = (each.collect() if isinstance(each, polars.LazyFrame) else each for each in (before, after))
        assert type(after) is type(before)
        assert after.equals(before)
        assert travelled(after[:0])[0].equals(after[:0])


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_matrices(kind: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = getattr(sparse, kind)(sparse.random(2000, 2000, 0.01))
    arrived, payload = travelled(matrix)
    assert (arrived != matrix).nnz == 0
    assert out_of_band(payload) >= 40_000 * 8


def test_arrays_of_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    import numpy

    array = xarray.DataArray(numpy.ones((500, 500)), dims=("x", "y"), coords={"x": numpy.arange(500.0)})
    for sent in (array, xarray.Dataset({"a": array, "b": array * 2})):
        arrived, payload = travelled(sent)
        assert arrived.identical(sent)
        assert out_of_band(payload) >= 500 * 500 * 8


def test_who_uses_none_of_them_loads_none() -> None:
    code = (
        "import sys; from scaler_notebook.protocol import payloads; payloads.load(payloads.dump([1, lambda: 2])); "
        "print(sorted({'torch', 'polars', 'numpy', 'pandas', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
