"""Numbers as a person reads them."""

import pytest

from scaler_notebook.quantities import format_bytes


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
