import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from server.options.log_options import LogOptions
from server.process.logs import configure_logs


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize(("level", "printed"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_events_below_the_level_are_not_printed(capsys: pytest.CaptureFixture[str], level: str, printed: int) -> None:
    configure_logs(LogOptions(level))
    log = structlog.get_logger()
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert len(capsys.readouterr().err.splitlines()) == printed


def test_an_event_is_one_line_of_pairs_without_colours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogOptions("info"))
    structlog.get_logger().info("task ended", task="a", images=2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "task ended" in captured.err
    assert "images=2 task=a" in captured.err
    assert "\x1b" not in captured.err


def test_a_traceback_shows_no_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogOptions("info"))
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

    configure_logs(LogOptions("info"))
    structlog.get_logger().info("task ended", value=Broken())
    assert "task ended (its values cannot be shown: RuntimeError)" in capsys.readouterr().err


def test_a_stream_that_cannot_be_written_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    configure_logs(LogOptions("info"))
    structlog.get_logger().info("task ended")


@pytest.fixture
def library_logs() -> Iterator[None]:
    """The root logger, as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


@pytest.mark.usefixtures("library_logs")
def test_json_lines_have_the_task_and_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    configure_logs(LogOptions("info", "json"))
    with structlog.contextvars.bound_contextvars(task="a"):
        structlog.get_logger().info("task ended", prompt="红\n", value=Broken(), path=Path("a"))
    try:
        raise ValueError("six")
    except ValueError:
        structlog.get_logger().exception("failed")
    logging.getLogger("some.library").warning("a %s", "warning")
    logging.getLogger("some.library").info("not shown")
    ended, failed, library = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ended["event"], ended["level"], ended["taskUUID"], ended["prompt"]) == ("task ended", "info", "a", "红\n")
    assert (ended["value"], "task" in ended) == ("(cannot be shown: RuntimeError)", False)
    assert ended["timestamp"].endswith("Z")
    assert (failed["level"], "ValueError: six" in failed["exception"]) == ("error", True)
    assert (library["event"], library["level"]) == ("a warning", "warning")
