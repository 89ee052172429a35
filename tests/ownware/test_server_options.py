from pathlib import Path

import pytest
import typer

from ownware.server_options import read_settings


def test_a_flag_wins_over_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNWARE_PORT", "9000")
    monkeypatch.setenv("OWNWARE_DATA_DIR", "/data")
    settings = read_settings(["--port", "9001"])
    assert (settings.port, settings.data_dir) == (9001, Path("/data"))


@pytest.mark.parametrize(
    ("variable", "arguments", "message"),
    [
        ("OWNWARE_PROT", [], "ownware: OWNWARE_PROT is no option of ownware; did you mean OWNWARE_PORT?"),
        ("OTHER", ["--port", "x"], "ownware: OWNWARE_PORT or --port: "),
        ("OTHER", ["--prot", "1"], "unrecognized arguments: --prot"),
    ],
)
def test_mistakes_end_the_command_with_a_plain_message(
    variable: str,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises((typer.Exit, SystemExit)):
        read_settings(arguments)
    assert message in capsys.readouterr().err
