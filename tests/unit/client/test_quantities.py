"""Numbers, and the words around them, as a person reads them."""

import pytest

from scaler_notebook.quantities import amount, format_bytes, thin_spaced
from scaler_notebook.wording import counted, sentence, with_article


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (24_000_000, "24.0 MB"),
        (1_800_000_000, "1.8 GB"),
        (2_500_000_000_000, "2.5 TB"),
        (1_234_500_000_000_000, "1,234.5 TB"),
    ],
)
def test_bytes_have_a_decimal_unit(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_an_article_is_as_its_noun_is_spoken() -> None:
    vowels = ["int", "object", "ndarray", "UnpicklingError", "RLock", "HTTPError", "_io.TextIOWrapper"]
    others = [
        "list",
        "numpy.int64",
        "uint8",
        "UUID",
        "union",
        "Future",
        "_thread.lock",
        "NoneType",
        "EuclideanDistance",
        "str",
    ]
    expected = [f"an {noun}" for noun in vowels] + [f"a {noun}" for noun in others]
    assert [with_article(noun) for noun in vowels + others] == expected


def test_one_is_not_several() -> None:
    assert [counted(n, "worker") for n in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
    assert counted(1000, "process", "processes") == "1,000 processes"
    assert thin_spaced(counted(1_000_000, "task")) == "1\u2009000\u2009000 tasks"


def test_an_amount_has_no_needless_decimals() -> None:
    numbers = [0, 7, 10_000, 1_234_567.891, 0.5, 100.0, -1200]
    texts = ["0", "7", "10,000", "1,234,567.89", "0.5", "100", "-1,200"]
    assert list(map(amount, numbers)) == list(map(thin_spaced, texts))


def test_a_sentence_has_one_stop() -> None:
    assert sentence("no such task") == "no such task."
    assert sentence("did you mean fit?") == "did you mean fit?"
