"""Quantities: as a person reads them, and whether a value is one."""

_UNITS = ("kB", "MB", "GB", "TB")


def format_bytes(size: float) -> str:
    """Return a number of bytes with a decimal unit: ``512 bytes``, ``24.0 MB``, ``1.8 GB``."""
    if size < 1000:
        return f"{size:.0f} byte" if size == 1 else f"{size:.0f} bytes"
    *smaller, largest = _UNITS
    for unit in smaller:
        size /= 1000
        if size < 999.95:  # else one decimal would read 1000.0
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} {largest}"


def amount(number: float) -> str:
    """Return a number as views write it: thin spaces between thousands, two decimals at most, and no needless zero."""
    return thin_spaced(f"{number:,.2f}".rstrip("0").rstrip("."))


def thin_spaced(text: str) -> str:
    """Return a text with thin spaces between the thousands of its numbers, as views write them, in place of commas."""
    return text.replace(",", "\u2009")


def is_truth_value(value: object) -> bool:
    """Return whether a value is True or False, or one of numpy's, which pass for numbers in some of its versions."""
    return type(value).__name__ in ("bool", "bool_")
