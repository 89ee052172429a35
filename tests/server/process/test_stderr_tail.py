"""A child's standard error is passed on, and its last lines are kept."""

import os
import sys

import pytest

from server.process.stderr_tail import StderrTail


def tail_of(data: bytes) -> tuple[str, ...]:
    """What is kept of a child's output."""
    tail = StderrTail()
    assert tail.writer is not None
    descriptor = os.dup(tail.writer.fileno())
    tail.forward()
    with os.fdopen(descriptor, "wb") as child:
        child.write(data)
    return tail.last_lines(10)


def test_lines_are_passed_on_and_the_last_ones_kept(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"line {number} 红" for number in range(20)]
    assert tail_of("\n".join(lines).encode()) == tuple(lines[-8:])
    assert capsys.readouterr().err == "\n".join(lines) + "\n"


def test_long_lines_and_colours_are_cut() -> None:
    (kept,) = tail_of(b"\x1b[31mred\x1b[0m " + b"x" * 1000 + b"\r\n \n")
    assert kept == "red " + "x" * 296


def test_a_line_without_an_end_is_not_gathered_without_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(tail_of(b"y" * 100_000)) == 8
    assert capsys.readouterr().err.count("y") == 100_000


def test_bytes_that_are_no_text() -> None:
    assert tail_of(b"\xff\xfe bad\n") == ("\ufffd\ufffd bad",)


def test_a_terminal_is_left_to_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tail = StderrTail()
    assert tail.writer is None
    tail.forward()
    assert tail.last_lines(1) == ()
