"""What a client tells the scheduler that it starts, in one line of JSON."""

from typing import TypedDict


class Config(TypedDict):
    """What the launcher writes, as JSON."""

    directory: str  # private, ours to remove
    slots: int
    spares: int
    capabilities: dict[str, int]
    max_runs: int | None  # of one process
    kernel: int  # process id
    keys: dict[str, str] | None  # of a TCP socket
    port: int | None  # that its address names; 0 for any; None if it names none
    link: str  # a path that leads to the Unix socket, ours to remove; empty for none
    protected: bool  # no client may end it
    hello: int  # descriptor for our first words; its end is what the kernel watches to see ours
