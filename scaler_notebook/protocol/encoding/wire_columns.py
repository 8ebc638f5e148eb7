"""The form of several messages of one class: a column for each field, in place of a row for each message.

A column whose values are all the same travels as that value, once: so the tasks of a burst share their function and
their options on the wire, and in the process that receives them. The types of a column are checked at once. A column of
records is a table again.

``[VALUES, values]``, ``[CONSTANT, value]`` or ``[TABLE, columns]`` is a column. The first column of a message class is
one of values: a table is no larger in memory than on the wire, but for a factor.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter, is_
from typing import Any, get_type_hints

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer, Payload
from scaler_notebook.protocol.twins import twin

from .wire_forms import Form, field_form, plain

VALUES, CONSTANT, TABLE = range(3)


class NeedsFrames(Exception):  # it says what messages are: it is no error
    """A message has frames of its own, which a table has no place for."""


class Table:
    """The columns of a class of records.

    Parameters
    ----------
    kind
        The class, a dataclass with more than one field.
    """

    def __init__(self, kind: type) -> None:
        hints = get_type_hints(kind)
        self._kind = kind
        self._made: Any = twin(kind)
        fields = {field.name: field_form(hints[field.name]) for field in dataclasses.fields(kind)}
        self._columns = [_column(hints[name], form) for name, form in fields.items()]
        self._read: Callable[[Any], tuple[Any, ...]] = attrgetter(*[name + form.path for name, form in fields.items()])

    def encode(self, records: Iterable[Any]) -> list[Any]:
        """Return the columns of records.

        Raises
        ------
        NeedsFrames
            One of them has a large payload, or buffers.
        """
        first, *others = zip(*map(self._read, records), strict=True)
        column, *columns = self._columns
        return [
            column.encode_values(first),
            *(each.encode(values) for each, values in zip(columns, others, strict=True)),
        ]

    def decode(self, value: Any, count: int | None = None) -> list[Any]:
        """Return the records of columns.

        Parameters
        ----------
        value
            What :meth:`encode` gave, as it has arrived.
        count
            How many records there are; None if the first column says so.

        Raises
        ------
        ProtocolError
            It is anything else.
        """
        if type(value) is not list or len(value) != len(self._columns):
            raise ProtocolError(f"a table of {self._kind.__name__} has {len(self._columns)} columns")
        if count is None:
            count = _length(value[0])
        values = [column.decode(each, count) for column, each in zip(self._columns, value, strict=True)]
        records = list(map(self._made, *values))
        for record in records:
            record.__class__ = self._kind
        return records


def _length(column: Any) -> int:
    """Return how many values a column has, which has to be one of values."""
    match column:
        case [int() as shape, list() as values] if shape == VALUES and values:
            return len(values)
    raise ProtocolError("a table whose first column has no values")


class _Column:
    """A column of values of a field.

    Parameters
    ----------
    form
        The form of one of them.
    """

    def __init__(self, form: Form) -> None:
        self._form = form

    def encode(self, values: Sequence[Any]) -> list[Any]:
        """Return a column of values, or of one if all are the same."""
        if self._are_same(values):
            (first,) = self._encoded(values[:1])
            return [CONSTANT, first]
        return self.encode_values(values)

    def encode_values(self, values: Sequence[Any]) -> list[Any]:
        """Return a column of values."""
        return [VALUES, self._encoded(values)]

    def _are_same(self, values: Sequence[Any]) -> bool:
        # Of floats that are equal one may be a negative zero; other records than equal ones are compared by Python.
        if self._form.kind is float or self._form.encode is not None:
            return all(map(is_, values, repeat(values[0])))
        return values.count(values[0]) == len(values)

    def _encoded(self, values: Sequence[Any]) -> Sequence[Any]:
        encode = self._form.encode
        if encode is None:
            return values
        frames: list[Buffer] = []
        encoded = [encode(value, frames) for value in values]
        if frames:
            raise NeedsFrames
        return encoded

    def decode(self, column: Any, count: int) -> Iterable[Any]:
        """Return so many values.

        Parameters
        ----------
        column
            What :meth:`encode` gave, as it has arrived.
        count
            How many.

        Raises
        ------
        ProtocolError
            It is anything else.
        """
        match column:
            case [int() as shape, value] if shape == CONSTANT:
                (shared,) = self._decoded([value])
                return repeat(shared, count)
            case [int() as shape, list() as values] if shape == VALUES and len(values) == count:
                return self._decoded(values)
        raise ProtocolError("a malformed column")

    def _decoded(self, values: list[Any]) -> list[Any]:
        """Return values of the field's type, after a check."""
        form = self._form
        if form.decode is not None:
            return [form.decode(value, iter(())) for value in values]
        if {form.kind}.issuperset(map(type, values)):
            return values
        return [plain(form.kind, value) for value in values]


class _RecordColumn(_Column):
    """A column of records.

    Parameters
    ----------
    form
        The form of one of them.
    table
        The form of several.
    """

    def __init__(self, form: Form, table: Table) -> None:
        super().__init__(form)
        self._table = table

    def encode_values(self, values: Sequence[Any]) -> list[Any]:
        """Return a table of the records."""
        return [TABLE, self._table.encode(values)]

    def decode(self, column: Any, count: int) -> Iterable[Any]:
        """Return so many records."""
        match column:
            case [int() as shape, columns] if shape == TABLE:
                return self._table.decode(columns, count)
        return super().decode(column, count)


def has_columns(kind: type) -> bool:
    """Return whether a class is one of records with several fields."""
    return dataclasses.is_dataclass(kind) and len(dataclasses.fields(kind)) > 1


def _column(kind: Any, form: Form) -> _Column:
    """Return the column for the annotation of a field, and for the form of one value."""
    if kind is not Payload and isinstance(kind, type) and has_columns(kind):
        return _RecordColumn(form, Table(kind))
    return _Column(form)
