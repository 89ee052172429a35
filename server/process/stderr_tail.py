"""The standard error of a child process: passed on to that of this process, with its last lines kept.

A terminal is left to the child itself, so that its progress bars work. Knows no worker.
"""

import multiprocessing
import os
import re
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from server.process.log_stream import LogStream

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_LINES, _LINE_CHARACTERS = 8, 300
_CHUNK = 4096
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class StderrTail:
    """A pipe for the standard error of one child. `writer` is the end that the child gets, None on a terminal."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._thread: threading.Thread | None = None
        self.writer: Connection | None = None
        if not sys.stderr.isatty():
            self._reader, self.writer = multiprocessing.Pipe(duplex=False)

    def forward(self) -> None:
        """Pass on what the child writes until it ends. The child must have its end by now: ours is closed."""
        if self.writer is None:
            return
        self.writer.close()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def last_lines(self, timeout: float) -> tuple[str, ...]:
        """The last lines of a child that has ended. Waits for what is under way, in seconds at most. Blocks."""
        if self._thread is not None:
            self._thread.join(timeout)
        return tuple(self._lines)

    def _read(self) -> None:
        rest = b""
        while data := os.read(self._reader.fileno(), _CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._pass_on(line)
            if len(rest) > _CHUNK:  # a bar that is drawn again and again
                self._pass_on(rest)
                rest = b""
        if rest:
            self._pass_on(rest)
        self._reader.close()

    def _pass_on(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        LogStream(sys.stderr).write(text + "\n")
        if text.strip():
            self._lines.append(_COLORS.sub("", text).strip()[:_LINE_CHARACTERS])
