from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ownware.batch.item import BatchError
from ownware.batch.tasks.flag_options import WIRE_SPELLING, task_of_flags, with_task_flags
from ownware.batch.tasks.flags import FLAGS

NOTHING = {flag.parameter: None for flag in FLAGS}


def task_of(*arguments: str) -> dict[str, Any]:
    """The task that a command line gives."""
    found: list[dict[str, Any]] = []
    app = typer.Typer()

    @app.command(**WIRE_SPELLING)
    @with_task_flags
    def draw(word: str, own: Annotated[int, typer.Option()] = 1, *, flags: dict[str, Any]) -> None:
        """Draw."""
        found.append({"word": word, "own": own, **task_of_flags(flags)})

    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize("flag", ["--cfg-scale", "--CFGScale"])
def test_flags_are_spelt_as_on_the_wire_or_as_usual(flag: str) -> None:
    assert task_of("w", flag, "3", "--own", "2") == {"word": "w", "own": 2, "CFGScale": 3.0}


def test_flags_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = "--steps 4 --strength 0.5 --mask m.png --reference a.png --reference b.png --fbCache --lora x=0.5"
    task = task_of("w", *arguments.split(), "--lora", "y", "--outpaint", "left=64", "--control", "edges=e.png")
    assert task == {
        "word": "w",
        "own": 1,
        "steps": 4,
        "inputs": {
            "strength": 0.5,
            "maskImage": f"{tmp_path}/m.png",
            "referenceImages": [f"{tmp_path}/a.png", f"{tmp_path}/b.png"],
        },
        "acceleratorOptions": {"fbCache": True},
        "lora": [{"model": "x", "weight": 0.5}, {"model": "y"}],
        "outpaint": {"left": 64},
        "controlNet": [{"model": "edges", "guideImage": f"{tmp_path}/e.png"}],
    }


def test_no_flag_sets_nothing() -> None:
    assert task_of_flags(NOTHING) == {}


def test_a_value_that_cannot_be_read_names_its_flag() -> None:
    with pytest.raises(BatchError, match="--outpaint: '64' is no SIDE=PIXELS"):
        task_of_flags({**NOTHING, "outpaint": "64"})
