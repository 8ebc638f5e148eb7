"""What a task wrote to stdout and stderr, as it arrived."""

from dataclasses import dataclass

from ..protocol.messages import LogStream


@dataclass(frozen=True, slots=True)
class Logs:
    """What a task wrote so far. Prints as both streams, one after the other."""

    stdout: str
    stderr: str

    def __str__(self) -> str:
        return self.stdout + self.stderr


class Output:
    """Grows while the task runs; read by any thread."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[tuple[LogStream, str]] = []

    def add(self, stream: LogStream, text: str) -> None:
        """Keep what came."""
        self._parts.append((stream, text))

    def logs(self) -> Logs:
        """All of it, by stream."""
        parts = list(self._parts)
        out, err = ("".join(text for stream, text in parts if stream is wanted) for wanted in LogStream)
        return Logs(out, err)

    def tail(self, size: int) -> tuple[str, bool]:
        """The last ``size`` characters of both streams as they arrived, and whether there were more."""
        parts: list[str] = []
        length = 0
        for _, text in reversed(self._parts):
            parts.append(text)
            length += len(text)
            if length > size:
                break
        return "".join(reversed(parts))[-size:], length > size
