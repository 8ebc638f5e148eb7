"""Messages as frames: one msgpack header for a batch of messages, then their large buffers as they are.

A batch is ``[header, buffer, buffer, …]``. The header is a msgpack array of messages, each ``[code, field, field, …]``.
:mod:`.wire_forms` has the forms of fields. Some messages of one class in a row, without buffers, are one table instead,
``[TABLE, code, columns]`` (:mod:`.wire_columns`).

Everything that arrives is checked against the annotations of the message classes, and bounded. Anything that does not
fit raises :class:`ProtocolError`, and nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

import msgpack

from scaler_notebook.protocol import messages
from scaler_notebook.protocol.errors import ProtocolError
from scaler_notebook.protocol.messages import Buffer

from .wire_columns import NeedsFrames, Table, has_columns
from .wire_forms import Decoder, Encoder, record_form, shown

MAX_HEADER = 256 * 1024 * 1024  # bytes
MAX_MESSAGES = 1_000_000  # in one batch
MAX_FIELD = 64 * 1024 * 1024  # bytes of one text or pickle within a header
UNICODE_ERRORS = "surrogatepass"  # paths and variables that are no UTF-8 hold lone surrogates
TABLE = 0  # stands where the code of a class stands else
FEWEST_ROWS = 4  # messages of one class in a row that are a table
MAX_DEPTH_ITEMS = 64  # fields of one message; no message class has more than ten

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
OnMalformed = Callable[[str, ProtocolError], None]


class _MadeWhenNeeded(dict[K, V]):
    """A dictionary whose values are made when they are first asked for: a process needs few forms, and not at once.

    Parameters
    ----------
    make
        Makes the value of a key, or raises a KeyError.
    """

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> V:
        return self.setdefault(key, self._make(key))


class Codec(Generic[T]):
    """A converter of messages of given classes to frames and back.

    Parameters
    ----------
    classes
        The message classes by their code on the wire; a code is never given a second meaning.
    """

    def __init__(self, classes: dict[int, type[T]]) -> None:
        codes = self._codes = {cls: code for code, cls in classes.items()}
        self._encoders = _MadeWhenNeeded[type, tuple[int, Encoder]](lambda cls: (codes[cls], record_form(cls)[0]))
        # One packer for all batches: a new one would allocate its whole buffer again.
        self._pack = msgpack.Packer(autoreset=True, unicode_errors=UNICODE_ERRORS).pack
        self._decoders = _MadeWhenNeeded[int, Decoder](lambda code: record_form(classes[code])[1])
        self._with_columns = {code: cls for code, cls in classes.items() if has_columns(cls)}
        self._tables = _MadeWhenNeeded[int, Table](lambda code: Table(self._with_columns[code]))

    def prepare(self) -> None:
        """Make the forms of all classes now, where the processes that need them are still to be forked."""
        for cls, code in self._codes.items():
            _ = self._encoders[cls], self._decoders[code]

    def encode(self, batch: Iterable[T]) -> list[Buffer]:
        """Return the frames of a batch of messages."""
        frames: list[Buffer] = [b""]
        header: list[Any] = []
        for cls, group in groupby(batch, type):
            messages = list(group)
            code, encoder = self._encoders[cls]
            if len(messages) >= FEWEST_ROWS and (columns := self._columns(code, messages)) is not None:
                header.append([TABLE, code, columns])
            else:
                header += [[code, *encoder(message, frames)] for message in messages]
        frames[0] = self._pack(header)
        return frames

    def _columns(self, code: int, messages: list[T]) -> list[Any] | None:
        """Return messages as a table; None if they have to be rows.

        Parameters
        ----------
        code
            The code of their class.
        messages
            Messages of one class.
        """
        if code not in self._with_columns:
            return None
        try:
            return self._tables[code].encode(messages)
        except NeedsFrames:
            return None

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
        batch: list[T] = []
        spoiled = False
        for item in header:
            try:
                if type(item) is list and len(item) == 3 and item[0] == TABLE:
                    batch += self._decode_table(item[1], item[2])
                else:
                    batch.append(self._decode_one(item, rest))
            except ProtocolError as error:
                if on_malformed is None:
                    raise
                # How many frames the message had is unknown, so later messages that need frames are malformed too.
                spoiled, rest = True, iter(())
                for task_id in _named_in(item):
                    on_malformed(task_id, error)
        if not spoiled and next(rest, None) is not None:
            raise ProtocolError("frames that belong to no message")
        return batch

    def _decode_table(self, code: Any, columns: Any) -> list[T]:
        """Return the messages of a table.

        Parameters
        ----------
        code
            The code of their class, as it has arrived.
        columns
            Their columns.
        """
        try:
            table = self._tables[code if type(code) is int else -1]
        except KeyError:
            raise ProtocolError(f"a table of messages with the code {shown(code)}") from None
        return table.decode(columns)

    def _decode_one(self, item: Any, frames: Iterator[Buffer]) -> T:
        if type(item) is not list or not 0 < len(item) <= MAX_DEPTH_ITEMS:
            raise ProtocolError("a message that is no array of fields")
        code = item[0]
        try:
            decoder = self._decoders[code if type(code) is int else -1]
        except KeyError:
            raise ProtocolError(f"unknown message code {shown(code)}") from None
        message: T = decoder(item[1:], frames)
        return message


def _named_in(item: Any) -> list[str]:
    """Return the task ids that a malformed message, or a malformed table of messages, seems to have; "" for none."""
    match item:
        case [_, str() as task_id, *_]:
            return [task_id]
        case [_, _, [[_, [*task_ids]], *_]]:
            return [task_id for task_id in task_ids if type(task_id) is str] or [""]
    return [""]


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
        13: messages.ItemsTaken,
        14: messages.EngineScale,
        15: messages.ClientPause,
        16: messages.EngineTasksRequest,
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
        27: messages.TaskAttemptFailed,
        28: messages.TaskItem,
        29: messages.EngineTasks,
        30: messages.TaskNested,
    }
)
