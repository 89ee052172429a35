"""Standard output and standard error that never raise and never wait.

A log may be a pipe whose reader is gone or stuck, or a file on a full disk. No task may depend on that.
"""

import select
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

# A pipe that `select` calls writable takes this many bytes at once (PIPE_BUF on Linux). A character has up to four.
_CHUNK = 4096 // 4


class LogStream:
    """A text stream over another one. What cannot be written now is dropped, and counted in the next line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write a text, or drop it. Raises `TypeError` for bytes: that is how a library tells a text stream."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes a text, not {type(text).__name__}")
        if self._lost and self._attempt(f"ownware: {self._lost} lines of the log could not be written\n"):
            self._lost = 0
        if not self._attempt(text):
            self._lost += 1
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write or drop each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing is kept back: each `write` flushes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _attempt(self, text: str) -> bool:
        try:
            for start in range(0, len(text), _CHUNK):
                if not self._writable():
                    return False
                self._stream.write(text[start : start + _CHUNK])
                self._stream.flush()
        except (OSError, ValueError):  # a full disk, a pipe without a reader, a closed stream
            return False
        return True

    def _writable(self) -> bool:
        try:
            descriptor = self._stream.fileno()
        except (AttributeError, OSError):  # a stream in memory
            return True
        return bool(select.select([], [descriptor], [], 0)[1])


def protect_standard_streams() -> None:
    """Put a `LogStream` before this process's standard output and standard error."""
    if not isinstance(sys.stdout, LogStream):
        sys.stdout = cast("TextIO", LogStream(sys.stdout))
    if not isinstance(sys.stderr, LogStream):
        sys.stderr = cast("TextIO", LogStream(sys.stderr))
