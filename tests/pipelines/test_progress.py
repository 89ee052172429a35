import io
import sys

import pytest
from structlog.testing import capture_logs

from pipelines import progress
from pipelines.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_terminal_shows_a_bar_with_bytes_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with capture_logs() as lines, show_progress("loading model", 4 * 10**9) as advance:
        advance(10**9)
        advance(3 * 10**9)
    assert "loading model" in terminal.getvalue()
    assert "4.0/4.0 GB" in terminal.getvalue()
    assert "0:00:0" in terminal.getvalue()
    assert lines == []


@pytest.mark.usefixtures("at_once")
def test_lines_in_the_log_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    with capture_logs() as lines, show_progress("loading model", 4 * 10**9) as advance:
        advance(10**9)
        advance(3 * 10**9)
    told = [(line["event"], line.get("done"), line.get("percent")) for line in lines]
    assert told == [
        ("loading model", "1.0 of 4.0 GB", 25),
        ("loading model", "4.0 of 4.0 GB", 100),
        ("loading model: done", None, None),
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("at_once")
def test_a_program_without_a_log_gets_lines_on_its_error_stream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.structlog, "is_configured", lambda: False)
    with show_progress("loading model", 10**9) as advance:
        advance(10**9)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[0] == "ownware: loading model done=1.0 of 1.0 GB percent=100 seconds=0"


@pytest.mark.usefixtures("at_once")
def test_lines_come_at_intervals() -> None:
    with capture_logs() as lines, show_progress("loading model", 100) as advance:
        for _ in range(100):
            advance(1)
    assert [line["event"] for line in lines] == ["loading model", "loading model: done"]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_short_step_says_nothing(monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    with capture_logs() as lines, show_progress("loading model", 10) as advance:
        advance(10)
    assert lines == []
    assert sys.stderr.getvalue() == ""  # pyright: ignore[reportAttributeAccessIssue]


def test_an_error_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(OSError, match="broken"), show_progress("loading model", 10):
        raise OSError("broken")
