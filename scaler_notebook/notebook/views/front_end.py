"""Front ends: the script and the style that a browser runs for one kind of view, and which pages were sent them."""

import gzip
import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from functools import cached_property

RESEND_INTERVAL = 15.0  # seconds in which a page is sent a module once: on a slow link it takes some
MAX_PAGES = 256  # that are remembered


@dataclass(frozen=True)
class FrontEnd:
    """The front end of one kind of view.

    Parameters
    ----------
    script
        The text of its module, as anywidget has it in ``_esm``.
    style
        The style sheet.
    """

    script: str
    style: str
    _sent_at: dict[str, float] = field(default_factory=dict, compare=False)  # by the name of the page

    @cached_property
    def name(self) -> str:
        """The hash of script and style, by which a page recognises this front end."""
        return hashlib.sha256(f"{self.script}\0{self.style}".encode()).hexdigest()[:16]

    @cached_property
    def packed(self) -> bytes:
        """Script and style as JSON, compressed to a third for slow links."""
        return gzip.compress(json.dumps({"script": self.script, "style": self.style}).encode(), mtime=0)

    def is_wanted(self, page: str) -> bool:
        """Return whether a page that asks is to be sent it, and is not being sent it already."""
        now = time.monotonic()
        if self._sent_at.get(page, -math.inf) + RESEND_INTERVAL > now:
            return False
        self._sent_at.pop(page, None)
        self._sent_at[page] = now
        while len(self._sent_at) > MAX_PAGES:
            del self._sent_at[next(iter(self._sent_at))]
        return True
