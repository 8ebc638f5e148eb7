"""What every kernel of the tests runs when it starts."""

from __future__ import annotations

from pathlib import Path

# ipykernel 7.0 to 7.3, alone as with us, loses one request in some hundred: one that comes in while a reply goes out
# lies unread in the socket. This is how 7.4 sends replies.
STARTUP = """
import ipykernel
if (7, 0) <= ipykernel.version_info[:2] < (7, 4):
    _kernel = get_ipython().kernel
    _channels = _kernel.shell_channel_thread
    _replies = _channels.manager._main_to_shell_channel
    _channels.io_loop.add_callback(_replies.on_recv, _channels.io_loop, _kernel.shell_stream.send_multipart)
    del _kernel, _channels, _replies
del ipykernel
"""


def make_profile(directory: Path) -> None:
    """Make a directory for ``IPYTHONDIR``: kernels that are started with it lose no request."""
    startup = directory / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "send_like_7_4.py").write_text(STARTUP)
