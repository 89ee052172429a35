import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from server.process.log_stream import LogStream, protect_standard_streams


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The reading end, and a text stream over the writing end."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8", buffering=1) as stream:
        yield reader, stream
        os.close(reader)


def test_what_is_written_arrives(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    log = LogStream(stream)
    assert log.write("红 one\n") == 6
    log.writelines(["two\n", "three\n"])
    log.flush()
    assert os.read(reader, 100).decode() == "红 one\ntwo\nthree\n"
    assert log.encoding == "utf-8"


def test_a_pipe_that_is_full_loses_lines_and_counts_them(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe
    log = LogStream(stream)
    for _ in range(1000):
        log.write(999 * "x" + "\n")  # 1 MB; a pipe holds 64 kB
    os.set_blocking(reader, False)
    arrived = b""
    while True:
        try:
            arrived += os.read(reader, 1 << 20)
        except BlockingIOError:
            break
    lost = 1000 - arrived.count(b"\n")
    assert 0 < lost < 1000
    log.write("room again\n")
    assert os.read(reader, 200).decode() == f"ownware: {lost} lines of the log could not be written\nroom again\n"


def test_a_line_longer_than_a_pipe_never_waits(pipe: tuple[int, TextIO]) -> None:
    _, stream = pipe
    assert LogStream(stream).write("红" * 100_000) == 100_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_raises_nothing() -> None:
    stream = Path("/dev/full").open("w", encoding="utf-8", buffering=1)  # noqa: SIM115  closing it raises
    log = LogStream(stream)
    assert [log.write("a line\n") for _ in range(3)] == [7, 7, 7]
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def test_a_closed_stream_and_a_text_that_cannot_be_encoded_raise_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    LogStream(closed).write("a line\n")
    LogStream(io.TextIOWrapper(io.BytesIO(), encoding="ascii")).write("红\n")


def test_a_reader_that_is_gone_raises_nothing() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w", encoding="utf-8", buffering=1)
    os.close(reader)
    LogStream(stream).write("a line\n")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_it_is_no_stream_of_bytes() -> None:
    stream: Any = LogStream(io.StringIO())
    with pytest.raises(TypeError, match="takes a text, not bytes"):
        stream.write(b"")


def test_the_standard_streams_are_protected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    protect_standard_streams()
    first = sys.stdout, sys.stderr
    protect_standard_streams()
    assert (sys.stdout, sys.stderr) == first
    sys.stdout.write("a result\n")
    assert sys.stdout.getvalue() == "a result\n"  # pyright: ignore[reportAttributeAccessIssue]
