from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ownware.batch.item import BatchError
from ownware.batch.render_place import RenderPlace, with_render_place


def test_the_options_are_those_of_the_server(tmp_path: Path) -> None:
    settings = RenderPlace(weights="embedded", devices="cpu", data_dir=str(tmp_path)).settings()
    assert (settings.weights, settings.devices, settings.data_dir, settings.models) == (
        "embedded",
        ("cpu",),
        tmp_path,
        None,
    )


def test_a_wrong_one_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        RenderPlace(weights="none").settings()
    assert "OWNWARE_WEIGHTS or --weights" in capsys.readouterr().err


def test_what_has_no_effect_is_refused() -> None:
    RenderPlace(weights="embedded").check()
    RenderPlace(server="http://box:8000", key="key").check()
    with pytest.raises(BatchError, match="--weights has no effect with --server"):
        RenderPlace(server="http://box:8000", weights="embedded").check()
    with pytest.raises(BatchError, match="--key needs --server"):
        RenderPlace(key="key").check()


def test_a_command_gets_its_flags_as_one_value() -> None:
    found: list[RenderPlace] = []
    app = typer.Typer()

    @app.command()
    @with_render_place
    def draw(*, place: RenderPlace) -> None:
        """Draw."""
        found.append(place)

    result = CliRunner().invoke(app, ["--server", "http://box", "--data-dir", "here"])
    assert result.exit_code == 0, result.output
    assert found == [RenderPlace(server="http://box", data_dir="here")]
