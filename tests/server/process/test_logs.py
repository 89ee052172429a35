import io
from collections.abc import Iterator

import pytest
import structlog

from server.process.logs import configure_logs


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize(("level", "printed"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_events_below_the_level_are_not_printed(capsys: pytest.CaptureFixture[str], level: str, printed: int) -> None:
    configure_logs(level)
    log = structlog.get_logger()
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert len(capsys.readouterr().err.splitlines()) == printed


def test_an_event_is_one_line_of_pairs_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    structlog.get_logger().info("task ended", task="a", images=2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "task ended" in captured.err
    assert "images=2 task=a" in captured.err
    assert "\x1b" not in captured.err


def test_a_traceback_shows_no_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    password = "".join(reversed("terces"))
    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger().exception("failed")
    printed = capsys.readouterr().err
    assert "ValueError: 6" in printed
    assert "secret" not in printed


def test_a_value_that_cannot_be_shown_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    configure_logs("info")
    structlog.get_logger().info("task ended", value=Broken())
    assert "task ended (its values cannot be shown: RuntimeError)" in capsys.readouterr().err


def test_a_stream_that_cannot_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    configure_logs("info")
    structlog.get_logger().info("task ended")
