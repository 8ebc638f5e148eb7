"""The notebook's settings as they travel: nothing is imported where they are read, and what cannot travel stays."""

from __future__ import annotations

import pickle
import re
import sys
import threading
import warnings

import pytest

from scaler_notebook.protocol import settings


class Local(UserWarning):
    """Found by its name."""


def test_filters_come_back_as_they_were() -> None:
    filters = [
        ("error", None, UserWarning, None, 0),
        ("ignore", re.compile("a.c", re.IGNORECASE), Local, re.compile("here$"), 7),
        ("default", None, DeprecationWarning, "__main__", 0),
    ]
    assert settings.decode_filters(settings.encode_filters(filters)) == (filters, set())


def test_filters_of_pythons_own_come_back() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("ignore", message="x", module="y", lineno=3)
        warnings.simplefilter("once", append=True)
        assert settings.decode_filters(settings.encode_filters(warnings.filters)) == (list(warnings.filters), set())


def test_a_class_that_cannot_be_found_by_name_is_left_out() -> None:
    class Hidden(UserWarning):
        pass

    filters = [("error", None, Hidden, None, 0), ("error", None, UserWarning, None, 0)]
    assert len(settings.encode_filters(filters)) == 1


def test_a_filter_for_a_module_that_is_not_imported_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = settings.encode_filters([("error", None, Local, None, 0), ("error", None, UserWarning, None, 0)])
    monkeypatch.delitem(sys.modules, __name__)
    assert settings.decode_filters(encoded) == ([("error", None, UserWarning, None, 0)], {__name__})


def test_values_that_cannot_be_pickled_are_left_out_alone() -> None:
    encoded = settings.encode({"plain": 1}, {"library": {"a": threading.Lock(), "b": 2, "c": lambda: 3}})
    decoded = settings.decode(encoded)
    assert decoded["plain"] == 1
    values = pickle.loads(decoded["library"])
    assert values.keys() == {"b", "c"}
    assert values["c"]() == 3


@pytest.mark.parametrize("nonsense", [b"", b"no pickle", pickle.dumps(7)])
def test_nonsense_is_no_settings(nonsense: bytes) -> None:
    assert settings.decode(nonsense) == {}
