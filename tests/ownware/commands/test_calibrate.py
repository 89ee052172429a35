"""`ownware calibrate teacache`, as a user runs it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accel.cache.profile import FOLDER, Measured, read_profile
from accel.calibration.traces import read_traces
from ownware import calibration
from ownware.cli import app
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import CalibrationKey, Profiles, recipe_of
from tests.pipelines.catalog.models_files import row, written

MODEL = ["--model", "runware:108@1", "--weights", "embedded", "--devices", "cpu"]
PROMPTS = (
    "a large red circle on a blue background",
    "green background, a small yellow star at the top",
    "a white cross at the center on a black background",
    "白色背景，左下角有一个小红色十字",
    "orange background, a large blue ring at the right",
    "a small pink triangle at the bottom on a gray background",
)


def ownware(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("\n\n".join(PROMPTS) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_it_writes_a_profile_that_the_model_then_runs_with(prompts: Path, tmp_path: Path) -> None:
    data, traces = tmp_path / "data", tmp_path / "traces.jsonl"
    options = ["--prompts", str(prompts), "--steps", "10,12", "--guidance", "1", "--size", "160x128"]
    code, said = ownware("calibrate", "teacache", *MODEL, *options, "--data-dir", str(data), "--traces", str(traces))
    assert code == 0, said
    path = data / "profiles" / "embedded.toml"
    assert str(path) in said
    profile = read_profile(path)
    assert profile.recipe == recipe_of(load_catalog().with_embedded_weights().entries[0])
    assert [(fit.steps, fit.guided) for fit in profile.fits] == [(10, False), (12, False)]
    assert profile.measured == Measured(len(PROMPTS), "text_to_image", "float32")
    for fit in profile.fits:
        assert fit.curve.r2 is None
        assert f"{fit.steps} steps, guidance 1: the table over sigma is used; 1 held-out prompts are too few" in said
    assert "measured on less than the model is used for: the model's own 20 steps are not measured" in said
    assert "measured on less than the model is used for: the model's own guidance of 4 is not measured" in said
    catalog = load_catalog().with_embedded_weights()
    params, warnings = Profiles(catalog, data / "profiles").choose(catalog.entries[0], CalibrationKey(10, False, 16384))
    assert warnings == ()
    assert params is not None
    assert params.curve == profile.fits[0].curve

    header, rows = read_traces(traces)
    assert header.recipe == profile.recipe
    assert [trace.prompt for trace in rows] == [*PROMPTS, *PROMPTS]
    code, said = ownware("simulate", str(traces), "--strategy", "teacache", "--threshold", "0", "--profile", str(path))
    assert code == 0
    assert said.startswith("teacache at 0: 0 of 132 steps reused, 0 of 132 forwards")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "runware:1@1"], "--model: 'runware:1@1' is not in the catalogue"),
        ([*MODEL, "--steps", "3"], "--steps: 3 is not from 4 to 50"),
        ([*MODEL, "--prompts", "/nowhere.txt"], "/nowhere.txt"),
        ([*MODEL, "--prompts", "/dev/null"], "--prompts: 0; at least 5"),
    ],
)
def test_mistakes_are_named_by_option(options: list[str], said: str, tmp_path: Path) -> None:
    code, output = ownware("calibrate", "teacache", *options, "--data-dir", str(tmp_path))
    assert code == 2
    assert said in output


def test_weights_that_cannot_be_loaded_leave_no_profile_behind(prompts: Path, tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED_FOLDER / "transformer", tmp_path / "nothing" / "transformer")  # the start checks this one
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        (tmp_path / "nothing" / part).mkdir(parents=True)
    models = written(tmp_path, row(air="a:1@1", weights=str(tmp_path / "nothing")))
    options = ["--models", str(models), "--devices", "cpu", "--prompts", str(prompts), "--data-dir", str(tmp_path)]
    code, said = ownware("calibrate", "teacache", "--model", "a:1@1", *options)
    assert (code, "nothing" in said) == (2, True)
    assert not list((tmp_path / "profiles").glob("*"))  # an empty one would end the next start of the server


def test_an_interrupted_calibration_goes_on_where_it_was(
    prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "own.toml"
    options = ["--prompts", str(prompts), "--steps", "4", "--guidance", "1", "--size", "128", "--out", str(out)]
    rendered = []
    whole = calibration._render_trace

    def counted(*arguments: Any) -> Any:
        if len(rendered) == 2:
            raise KeyboardInterrupt
        rendered.append(arguments[2])
        return whole(*arguments)

    monkeypatch.setattr(calibration, "_render_trace", counted)
    code, said = ownware("calibrate", "teacache", *MODEL, *options, "--data-dir", str(tmp_path))
    partial = tmp_path / "own.partial.jsonl"
    assert (code, out.exists()) == (130, False)
    assert f"interrupted; {partial} keeps the images so far" in said
    assert len(read_traces(partial)[1]) == 2

    monkeypatch.setattr(
        calibration, "_render_trace", lambda *arguments: rendered.append(arguments[2]) or whole(*arguments)
    )
    code, said = ownware("calibrate", "teacache", *MODEL, *options, "--data-dir", str(tmp_path))
    assert "2 images of an earlier run are taken up" in said
    assert [text for text, _ in rendered] == list(PROMPTS)
    assert (code, partial.exists()) in ((0, False), (1, True))  # four steps may be too few for a curve


def test_a_profile_that_was_measured_on_more_is_kept(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.toml"
    shipped = (FOLDER / "embedded.toml").read_text(encoding="utf-8")
    out.write_text(shipped, encoding="utf-8")
    options = ["--prompts", str(prompts), "--steps", "20", "--guidance", "4", "--out", str(out)]
    code, said = ownware("calibrate", "teacache", *MODEL, *options, "--data-dir", str(tmp_path))
    assert code == 2
    more = f"20 prompts and not {len(PROMPTS)}; 20 steps with guidance off at 16384 pixels; 28 steps"
    assert f"{out} was measured on more: {more}" in said
    assert "give --replace" in said
    assert out.read_text(encoding="utf-8") == shipped
