"""Messages as frames: one msgpack header for a batch of messages, then their large buffers as they are.

A batch is ``[header, buffer, buffer, …]``. The header is a msgpack array of messages, each ``[code, field, field, …]``.
Enums travel as their values, nested records as arrays, and a :class:`Payload` as ``[pickle or None, number of frames,
key, segments]``: a small pickle stands in the header, a large one is the first of the payload's frames. ``segments``
are the buffers in shared memory, each with its position among the buffers. Frames are taken in order, so that no index
can point outside or twice at one buffer.

Everything that arrives is checked against the annotations of the message classes, and bounded. Anything that does not
fit raises :class:`ProtocolError`, and nothing else.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from . import messages
from .errors import ProtocolError
from .messages import Buffer, Payload, SegmentRef
from .twins import twin

INLINE_PICKLE = 16 * 1024  # bytes; a larger pickle gets a frame of its own, which saves a copy into the header
MAX_HEADER = 256 * 1024 * 1024  # bytes
MAX_MESSAGES = 1_000_000  # in one batch; frames of one message
MAX_FIELD = 64 * 1024 * 1024  # bytes of one text or pickle within a header
UNICODE_ERRORS = "surrogatepass"  # paths and variables that are no UTF-8 hold lone surrogates
MAX_DEPTH_ITEMS = 64  # fields of one message; no message class has more than ten

T = TypeVar("T")
Encoder = Callable[[Any, list[Buffer]], Any]
OnMalformed = Callable[[str, ProtocolError], None]
Decoder = Callable[[Any, Iterator[Buffer]], Any]

PLAIN = (str, int, float, bool, bytes)  # types that msgpack knows


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
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
    """

    kind: type
    decode: Decoder | None = None
    encode: Encoder | None = None
    path: str = ""


def _plain(kind: type, value: Any) -> Any:
    """Return a value of a type that msgpack knows, or an integer as a float, after a check.

    By exact type: msgpack distinguishes bool from int, which isinstance does not.
    """
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    raise ProtocolError(f"expected {kind.__name__}, got {type(value).__name__}")


def _enum(kind: type[Enum]) -> _Form:
    """Return the form of an enum of texts."""
    by_value = {member.value: member for member in kind}

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        try:
            return by_value[value]
        except (KeyError, TypeError):
            raise ProtocolError(f"{_shown(value)} is no {kind.__name__}") from None

    return _Form(str, decode, path="._value_")  # ``value`` itself is a property, written in Python


def _shown(value: Any) -> str:
    """Format a value for an error message; a nested value may nest too deeply for ``repr``."""
    return f"{value!r:.80}" if isinstance(value, str | bytes | int | float | None) else f"a {type(value).__name__}"


def _array(kind: type) -> _Form:
    """Return the form of a tuple of items of one type that msgpack knows."""

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        if type(value) is not list or not {kind}.issuperset(map(type, value)):
            raise ProtocolError(f"expected an array of {kind.__name__}")
        return tuple(value)

    return _Form(list, decode)


def _encode_payload(payload: Payload, frames: list[Buffer]) -> Any:
    """Encode a payload, and append its frames."""
    inline = len(payload.data) <= INLINE_PICKLE
    if inline and not payload.buffers:  # most payloads
        return payload.data, 0, payload.key, ()
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
    # By exact type: a bool would pass for an int.
    if type(value) is list and list(map(type, value)) == INLINE_KINDS and not value[1] and not value[3]:
        payload: Payload = _PayloadTwin(value[0], (), value[2])
        payload.__class__ = Payload
        return payload
    match value:
        case [bytes() | None as data, count, bytes() as key, list() as segments] if (
            type(count) is int and (data is None) <= count <= MAX_MESSAGES
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


def _record(kind: type) -> tuple[Encoder, Decoder]:
    """Return encoder and decoder of a dataclass.

    Fields that msgpack takes as they are, which are most, cost no call each: all are read by one call, and the types of
    all that arrive are compared at once.
    """
    hints = get_type_hints(kind)
    forms = {field.name: _form(hints[field.name]) for field in dataclasses.fields(kind)}
    paths = [name + form.path for name, form in forms.items()]
    read = attrgetter(*paths) if len(paths) > 1 else lambda value: [attrgetter(path)(value) for path in paths]
    encoders = [(place, form.encode) for place, form in enumerate(forms.values()) if form.encode is not None]
    decoders = [(place, form.decode) for place, form in enumerate(forms.values()) if form.decode is not None]
    kinds = [form.kind for form in forms.values()]
    checked = [(place, form.kind) for place, form in enumerate(forms.values()) if form.decode is None]
    size = len(kinds)
    made: Any = twin(kind)

    def encode(value: Any, frames: list[Buffer]) -> Any:
        if not encoders:
            return read(value)
        fields = [*read(value)]
        for place, encoder in encoders:
            fields[place] = encoder(fields[place], frames)
        return fields

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        if type(value) is not list or len(value) != size:
            raise ProtocolError(f"{kind.__name__} has {size} fields")
        if list(map(type, value)) != kinds:
            for place, expected in checked:
                value[place] = _plain(expected, value[place])
        for place, decoder in decoders:
            value[place] = decoder(value[place], frames)
        record = made(*value)
        record.__class__ = kind
        return record

    return encode, decode


def _records(kind: type) -> _Form:
    """Return the form of a tuple of instances of a dataclass."""
    encode_one, decode_one = _record(kind)

    def encode(value: tuple[Any, ...], frames: list[Buffer]) -> Any:
        return [encode_one(item, frames) for item in value] if value else value

    def decode(value: Any, frames: Iterator[Buffer]) -> Any:
        if type(value) is not list:
            raise ProtocolError(f"expected an array of {kind.__name__}")
        return tuple([decode_one(item, frames) for item in value]) if value else ()

    return _Form(list, decode, encode)


def _form(kind: Any) -> _Form:
    """Return the wire form for the annotation of a field."""
    if kind is Payload:
        return _Form(list, _decode_payload, _encode_payload)
    if kind in (tuple[str, ...], tuple[int, ...]):
        return _array(get_args(kind)[0])
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,) and dataclasses.is_dataclass(get_args(kind)[0]):
        return _records(get_args(kind)[0])
    if kind in PLAIN:
        return _Form(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        encode, decode = _record(kind)
        return _Form(list, decode, encode)
    raise TypeError(f"{kind} has no wire form")  # a mistake in a message class, found at import


class Codec(Generic[T]):
    """A converter of messages of given classes to frames and back.

    Parameters
    ----------
    classes
        The message classes by their code on the wire; a code is never given a second meaning.
    """

    def __init__(self, classes: dict[int, type[T]]) -> None:
        self._encoders = {cls: (code, _record(cls)[0]) for code, cls in classes.items()}
        # One packer for all batches: a new one would allocate its whole buffer again.
        self._pack = msgpack.Packer(autoreset=True, unicode_errors=UNICODE_ERRORS).pack
        self._decoders = {code: _record(cls)[1] for code, cls in classes.items()}

    def encode(self, batch: Iterable[T]) -> list[Buffer]:
        """Return the frames of a batch of messages."""
        frames: list[Buffer] = [b""]
        header = []
        for message in batch:
            code, encoder = self._encoders[type(message)]
            header.append([code, *encoder(message, frames)])
        frames[0] = self._pack(header)
        return frames

    def decode(self, frames: Sequence[Buffer], on_malformed: OnMalformed | None = None) -> list[T]:
        """Return the messages of a batch.

        Parameters
        ----------
        frames
            The frames, as :meth:`encode` makes them.
        on_malformed
            Called for each malformed message as ``on_malformed(task_id, error)``, with the task id that the message
            seems to have ("" for none); the other messages are returned. Without it one malformed message spoils the
            batch.

        Raises
        ------
        ProtocolError
            The frames are anything but what :meth:`encode` makes.
        """
        if not frames or len(frames[0]) > MAX_HEADER:
            raise ProtocolError("no header" if not frames else f"a header of {len(frames[0])} bytes")
        try:
            header = msgpack.unpackb(
                frames[0],
                strict_map_key=True,
                unicode_errors=UNICODE_ERRORS,
                max_str_len=MAX_FIELD,
                max_bin_len=MAX_FIELD,
                max_array_len=MAX_MESSAGES,
                max_map_len=0,
                max_ext_len=0,
            )
        except RecursionError:
            raise ProtocolError("a header nested too deeply") from None
        except Exception as error:  # msgpack raises its own types, ValueError and UnicodeDecodeError among them
            raise ProtocolError(f"a header that is no msgpack: {error}") from None
        if type(header) is not list:
            raise ProtocolError("a header that is no array")
        rest = iter(frames[1:])
        batch = []
        spoiled = False
        for item in header:
            try:
                batch.append(self._decode_one(item, rest))
            except ProtocolError as error:
                if on_malformed is None:
                    raise
                task_id = item[1] if type(item) is list and len(item) > 1 and type(item[1]) is str else ""
                # How many frames the message had is unknown, so later messages that need frames are malformed too.
                spoiled, rest = True, iter(())
                on_malformed(task_id, error)
        if not spoiled and next(rest, None) is not None:
            raise ProtocolError("frames that belong to no message")
        return batch

    def _decode_one(self, item: Any, frames: Iterator[Buffer]) -> T:
        if type(item) is not list or not 0 < len(item) <= MAX_DEPTH_ITEMS:
            raise ProtocolError("a message that is no array of fields")
        code = item[0]
        decoder = self._decoders.get(code) if type(code) is int else None
        if decoder is None:
            raise ProtocolError(f"unknown message code {_shown(code)}")
        message: T = decoder(item[1:], frames)
        return message


CLIENT_CODEC: Codec[messages.ClientMessage] = Codec(
    {
        1: messages.Task,
        2: messages.TaskCancel,
        3: messages.ClientDisconnect,
        4: messages.ClientContext,
        5: messages.BuffersReceived,
        6: messages.ClientHello,
        7: messages.EngineStatusRequest,
        9: messages.ObjectCreate,
        10: messages.ObjectDelete,
        11: messages.TaskWaits,
        8: messages.ClientShutdown,
        12: messages.ClientWithdraw,
    }
)
ENGINE_CODEC: Codec[messages.EngineMessage] = Codec(
    {
        16: messages.TaskStarted,
        17: messages.TaskCancelConfirm,
        18: messages.TaskResult,
        19: messages.TaskLog,
        20: messages.TaskProgress,
        21: messages.TaskDisplay,
        22: messages.EngineHello,
        23: messages.EngineStatus,
        25: messages.ObjectCreated,
        24: messages.ClientShutdownResponse,
        26: messages.TaskPreview,
    }
)
