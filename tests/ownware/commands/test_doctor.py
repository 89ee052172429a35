"""`ownware doctor`, as an operator runs it."""

from pathlib import Path

from typer.testing import CliRunner

from ownware.cli import app
from server.process.listen import listen


def doctor(folder: Path, *flags: str) -> tuple[int, list[list[str]]]:
    arguments = ["doctor", "--data-dir", str(folder), "--devices", "cpu", *flags]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def test_a_line_for_each_check(tmp_path: Path) -> None:
    code, lines = doctor(tmp_path / "data", "--port", "0")
    assert code == 0
    told = "\n".join(text for _, text in lines)
    subjects = (
        "data folder",
        "disk space",
        "lock",
        "database",
        "clock",
        "devices",
        "model ",
        "plan",
        "extra",
        "API keys",
    )
    for subject in (*subjects, "port"):
        assert f"\n{subject}" in f"\n{told}", subject
    assert {state for state, _ in lines} <= {"ok", "note"}
    assert not list(tmp_path.iterdir())


def test_what_stops_the_server_is_the_exit_status(tmp_path: Path) -> None:
    (sock,) = listen("127.0.0.1", 0)
    with sock:
        code, lines = doctor(tmp_path, "--port", str(sock.getsockname()[1]))
    assert code == 1
    assert [text.split()[0] for state, text in lines if state == "stops"] == ["port"]
