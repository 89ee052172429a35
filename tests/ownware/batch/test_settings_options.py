from pathlib import Path

import pytest
import typer

from ownware.batch.item import BatchError
from ownware.batch.settings_options import refuse_with_server, settings_of


def test_the_options_are_those_of_the_server(tmp_path: Path) -> None:
    settings = settings_of(None, "embedded", "cpu", str(tmp_path))
    assert (settings.weights, settings.devices, settings.data_dir, settings.models) == (
        "embedded",
        ("cpu",),
        tmp_path,
        None,
    )


def test_a_wrong_one_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        settings_of(None, "none", None, None)
    assert "OWNWARE_WEIGHTS or --weights" in capsys.readouterr().err


def test_what_a_server_would_not_read_is_refused() -> None:
    refuse_with_server(None, weights="embedded")
    refuse_with_server("http://box:8000", weights=None)
    with pytest.raises(BatchError, match="--weights has no effect with --server"):
        refuse_with_server("http://box:8000", models=None, weights="embedded")
