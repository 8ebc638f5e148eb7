"""The forms of fields on the wire, made from the annotations of message classes.

An enum travels as its value, and a record as an array, without the last fields if these have their defaults.

A :class:`Payload` of a small pickle alone travels as the pickle, any other as ``[pickle or None, number of frames, key,
segments]``: a small pickle stands in the header, a large one is the first of the payload's frames. ``segments`` are the
buffers in shared memory, each with its position among the buffers. Frames are taken in order, so that no index can
point outside or twice at one buffer.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import islice
from operator import attrgetter
from typing import Any, get_args, get_origin, get_type_hints

from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.frozen import frozen
from scaler_notebook.protocol.messages import Buffer, Payload, SegmentRef
from scaler_notebook.protocol.twins import twin
from scaler_notebook.wording import with_article

INLINE_PICKLE = 16 * 1024  # bytes; a larger pickle gets a frame of its own, which saves a copy into the header
MAX_FRAMES = 1_000_000  # of one payload

Encoder = Callable[[Any, list[Buffer]], Any]
Decoder = Callable[[Any, Iterator[Buffer]], Any]

PLAIN = (str, int, float, bool, bytes)  # types that msgpack knows


@frozen
class Form:
    """The wire form of a field.

    Parameters
    ----------
    kind
        The type that msgpack gives back.
    decode
        Checks and converts what msgpack gives back; None for a value of exactly that type, which is used as it is.
    encode
        Converts the field's value; None if msgpack takes the value as it is.
    path
        What follows the field's name to where the value is read, e.g. ``._value_`` of an enum.
    other
        Another type that msgpack may give back; None for none.
    """

    kind: type
    decode: Decoder | None = None
    encode: Encoder | None = None
    path: str = ""
    other: type | None = None


def plain(kind: type, value: Any) -> Any:
    """Return a value of a type that msgpack knows, or an integer as a float, after a check.

    By exact type: msgpack distinguishes bool from int, which isinstance does not.
    """
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ProtocolError(f"expected {kind.__name__}, got {type(value).__name__}")


def _enum(kind: type[Enum]) -> Form:
    """Return the form of an enum of texts."""
    by_value = {member.value: member for member in kind}

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        try:
            return by_value[value]
        except (KeyError, TypeError):
            raise ProtocolError(f"{shown(value)} is no {kind.__name__}") from None

    return Form(str, decode, path="._value_")  # ``value`` itself is a property, written in Python


def shown(value: Any) -> str:
    """Format a value for an error message; a nested value may nest too deeply for ``repr``."""
    return (
        f"{value!r:.80}" if isinstance(value, str | bytes | int | float | None) else with_article(type(value).__name__)
    )


def _array(kind: type) -> Form:
    """Return the form of a tuple of items of one type that msgpack knows."""

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        if type(value) is not list or not {kind}.issuperset(map(type, value)):
            raise ProtocolError(f"expected an array of {kind.__name__}")
        return tuple(value)

    return Form(list, decode)


def _encode_payload(payload: Payload, frames: list[Buffer]) -> Any:
    """Encode a payload, and append its frames."""
    inline = len(payload.data) <= INLINE_PICKLE
    if inline and not payload.buffers:  # most payloads
        return (payload.data, 0, payload.key, ()) if payload.key else payload.data
    before = len(frames)
    if not inline:
        frames.append(payload.data)
    segments = []
    for position, buffer in enumerate(payload.buffers):
        if isinstance(buffer, SegmentRef):
            segments.append([position, buffer.pid, buffer.descriptor, buffer.size])
        else:
            frames.append(buffer)
    return [payload.data if inline else None, len(frames) - before, payload.key, segments]


_PayloadTwin: Any = twin(Payload)
INLINE_KINDS = [bytes, int, bytes, list]  # the types of a payload's fields whose pickle stands in the header


def _decode_payload(value: Any, frames: Iterator[Buffer]) -> Payload:
    """Decode a payload, and take its frames."""
    if type(value) is bytes:
        plain: Payload = _PayloadTwin(value)
        plain.__class__ = Payload
        return plain
    # By exact type: a bool would pass for an int.
    if type(value) is list and list(map(type, value)) == INLINE_KINDS and not value[1] and not value[3]:
        payload: Payload = _PayloadTwin(value[0], (), value[2])
        payload.__class__ = Payload
        return payload
    match value:
        case [bytes() | None as data, count, bytes() as key, list() as segments] if (
            type(count) is int and (data is None) <= count <= MAX_FRAMES
        ):
            taken = list(islice(frames, count))
            if len(taken) < count:
                raise ProtocolError(f"a payload of {count} frames, but the batch has fewer")
            pickled = taken.pop(0) if data is None else data
            return Payload(pickled, _with_segments(taken, segments), key)
    raise ProtocolError("malformed payload")


def _with_segments(frames: list[Buffer], segments: list[Any]) -> tuple[Buffer | SegmentRef, ...]:
    """Return frames and references to segments in the order of the payload's buffers."""
    buffers: list[Buffer | SegmentRef] = list(frames)
    for segment in segments:
        match segment:
            case [position, pid, descriptor, size] if (
                {type(number) for number in segment} == {int}
                and min(segment) >= 0
                and position <= len(buffers)
                and size > 0
            ):
                buffers.insert(position, SegmentRef(pid, descriptor, size))
            case _:
                raise ProtocolError("a malformed segment")
    return tuple(buffers)


def record_form(kind: type) -> tuple[Encoder, Decoder]:
    """Return encoder and decoder of a dataclass.

    Fields that msgpack takes as they are, which are most, cost no call each: all are read by one call, and the types of
    all that arrive are compared at once.
    """
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)
    forms = {field.name: field_form(hints[field.name]) for field in fields}
    paths = [name + form.path for name, form in forms.items()]
    read: Callable[[Any], tuple[Any, ...]] = (
        attrgetter(*paths) if len(paths) > 1 else lambda value: tuple([attrgetter(path)(value) for path in paths])
    )
    encoders = [(place, form.encode) for place, form in enumerate(forms.values()) if form.encode is not None]
    size = len(paths)
    required = next((n for n in range(size, 0, -1) if fields[n - 1].default is dataclasses.MISSING), 0)
    defaults = [_encoded_default(field, form) for field, form in zip(fields, forms.values(), strict=True)]
    plans = {length: _DecodingPlan(list(forms.values())[:length]) for length in range(required, size + 1)}
    made: Any = twin(kind)

    def encode(value: Any, frames: list[Buffer]) -> Any:
        given = read(value)
        length = size
        # By identity, which costs nothing: a default that is another object travels as any other value.
        while length > required and given[length - 1] is defaults[length - 1]:
            length -= 1
        if not encoders:
            return given[:length]
        parts = [*given[:length]]
        for place, encoder in encoders:
            if place < length:
                parts[place] = encoder(parts[place], frames)
        return parts

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        plan = plans.get(len(value)) if type(value) is list else None
        if plan is None:
            raise ProtocolError(f"{kind.__name__} has {required} to {size} fields")
        if (*map(type, value),) not in plan.kinds:
            plan.check(value)
        for place, decoder in plan.decoders:
            value[place] = decoder(value[place], frames)
        record = made(*value)
        record.__class__ = kind
        return record

    return encode, decode


class _DecodingPlan:
    """How the fields of a record are checked and converted, if so many of them have come.

    Parameters
    ----------
    forms
        The forms of these fields.
    """

    __slots__ = ("_checked", "decoders", "kinds")

    def __init__(self, forms: list[Form]) -> None:
        kinds = [(form.kind,) if form.other is None else (form.kind, form.other) for form in forms]
        self.kinds = frozenset(itertools.product(*kinds))
        self.decoders = [(place, form.decode) for place, form in enumerate(forms) if form.decode is not None]
        self._checked = [(place, form.kind) for place, form in enumerate(forms) if form.decode is None]

    def check(self, value: list[Any]) -> None:
        """Check each field that is used as it is, and make a float of an integer where one is expected."""
        for place, expected in self._checked:
            value[place] = plain(expected, value[place])


def _encoded_default(field: "dataclasses.Field[Any]", form: Form) -> Any:
    """Return the default of a field as its encoder reads it from a record; an object of its own if there is none."""
    if field.default is dataclasses.MISSING:
        return object()
    return field.default._value_ if form.path else field.default


def _records(kind: type) -> Form:
    """Return the form of a tuple of instances of a dataclass."""
    encode_one, decode_one = record_form(kind)

    def encode(value: tuple[Any, ...], frames: list[Buffer]) -> Any:
        return [encode_one(item, frames) for item in value] if value else value

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        if type(value) is not list:
            raise ProtocolError(f"expected an array of {kind.__name__}")
        return tuple([decode_one(item, frames) for item in value]) if value else ()

    return Form(list, decode, encode)


def field_form(kind: Any) -> Form:
    """Return the wire form for the annotation of a field."""
    if kind is Payload:
        return Form(list, _decode_payload, _encode_payload, other=bytes)
    if kind in (tuple[str, ...], tuple[int, ...]):
        return _array(get_args(kind)[0])
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,) and dataclasses.is_dataclass(get_args(kind)[0]):
        return _records(get_args(kind)[0])
    if kind in PLAIN:
        return Form(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        encode, decode = record_form(kind)
        return Form(list, decode, encode)
    raise TypeError(f"{kind} has no wire form")  # a mistake in a message class, found at import
