"""`ownware calibrate teacache` and `ownware bench replay`, as a user runs them."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accel.cache.profile import Recipe, load_profile, read_profile, write_profile
from accel.calibration.traces import read_traces
from ownware.cli import app
from pipelines.catalog.catalog import EMBEDDED, load_catalog
from pipelines.catalog.profiles import CalibrationKey, Profiles, recipe_of

DOCS = Path(__file__).parents[3] / "docs"
TRACES = DOCS / "embedded.traces.jsonl"
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


def test_it_writes_a_profile_that_the_model_then_runs_with(prompts: Path, tmp_path: Path) -> None:
    data, traces = tmp_path / "data", tmp_path / "traces.jsonl"
    options = ["--prompts", str(prompts), "--steps", "10,12", "--guidance", "1", "--size", "160x128"]
    code, said = ownware("calibrate", "teacache", *MODEL, *options, "--data-dir", str(data), "--traces", str(traces))
    assert code == 0, said
    path = data / "profiles" / "embedded.toml"
    assert str(path) in said
    profile = read_profile(path)
    assert profile.recipe == recipe_of(EMBEDDED)
    assert [(fit.steps, fit.guided) for fit in profile.fits] == [(10, False), (12, False)]
    for fit in profile.fits:
        assert (fit.curve.r2 or 0) >= 0.6
        assert f"{fit.steps} steps, guidance 1: R² on held-out prompts {fit.table and fit.table.r2}" in said
    catalog = load_catalog().with_embedded_weights()
    figures, warnings = Profiles(catalog, data / "profiles").choose(
        catalog.entries[0], CalibrationKey(10, False, 16384)
    )
    assert warnings == ()
    assert figures is not None
    assert figures.curve == profile.fits[0].curve

    header, rows = read_traces(traces)
    assert header.recipe == profile.recipe
    assert [trace.prompt for trace in rows] == [*PROMPTS, *PROMPTS]
    code, said = ownware(
        "bench", "replay", str(traces), "--strategy", "teacache", "--threshold", "0", "--profile", str(path)
    )
    assert code == 0
    assert said.startswith("teacache at 0: 0 of 132 steps reused, 0 of 132 forwards")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "runware:1@1"], "--model: 'runware:1@1'"),
        ([*MODEL, "--steps", "many"], "--steps: 'many'"),
        ([*MODEL, "--steps", "3"], "--steps: 3"),
        ([*MODEL, "--size", "100"], "--size: '100'"),
        ([*MODEL, "--guidance", "x"], "--guidance: 'x'"),
        ([*MODEL, "--guidance", "4,3"], "--guidance: 4,3"),
        ([*MODEL, "--prompts", "/nowhere.txt"], "/nowhere.txt"),
        (["--model", "runware:108@20", *MODEL[2:]], "--prompts: a model that edits"),
    ],
)
def test_mistakes_are_told_by_option(options: list[str], said: str, tmp_path: Path) -> None:
    code, output = ownware("calibrate", "teacache", *options, "--data-dir", str(tmp_path))
    assert code == 2
    assert said in output


@pytest.mark.parametrize(
    ("model", "text", "said"),
    [
        ("runware:108@1", "a\nb\nc\nd\n", "--prompts: 4; at least 5"),
        ("runware:108@1", "a <|im_end|>\nb\nc\nd\ne\n", "control token"),
        ("runware:108@20", "paint it red\n", "line 1: 'picture<tab>instruction'"),
        ("runware:108@20", "none.png\tpaint it red\n", "none.png"),
    ],
)
def test_prompts_that_cannot_be_used(model: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    options = ["--model", model, *MODEL[2:], "--prompts", str(path), "--data-dir", str(tmp_path)]
    code, output = ownware("calibrate", "teacache", *options)
    assert code == 2
    assert said in output


class TestReplay:
    def test_the_traces_of_the_documentation_are_of_the_embedded_weights(self) -> None:
        header, traces = read_traces(TRACES)
        assert len(traces) == 3
        assert header.recipe == recipe_of(EMBEDDED) == load_profile(EMBEDDED).recipe, "run `make profile`"
        assert TRACES.stat().st_size < 100_000

    @pytest.mark.parametrize("strategy", ["fbcache", "dbcache", "teacache"])
    def test_one_line_a_threshold(self, strategy: str) -> None:
        code, said = ownware("bench", "replay", str(TRACES), "--strategy", strategy, "--threshold", "0,0.2,9")
        assert code == 0
        nothing, some, most = said.splitlines()
        assert (
            nothing
            == f"{strategy} at 0: 0 of 60 steps reused, 0 of 120 forwards, so denoising is at most 1.00 times as fast"
        )
        assert int(some.split()[3]) <= int(most.split()[3]) == 3 * 12  # of 15 in the window, three in a row
        assert "at most 2.50 times" in most

    def test_patterns(self) -> None:
        options = [
            "--strategy",
            "fbcache",
            "--threshold",
            "9",
            "--start",
            "1",
            "--end",
            "4",
            "--max-run",
            "2",
            "--each",
        ]
        _, *images = ownware("bench", "replay", str(TRACES), *options)[1].splitlines()
        assert len(images) == 3
        for line in images:
            assert "cond CRRCCCCCCCCCCCCCCCCC  uncond CRRC" in line

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--strategy", "magic", "--threshold", "1"], "--strategy: 'magic'"),
            (["--strategy", "fbcache", "--threshold", "high"], "--threshold: 'high'"),
            (["--strategy", "fbcache", "--threshold", "1", "--max-run", "6"], "--max-run: 6"),
            (["--strategy", "fbcache", "--threshold", "1", "--profile", "x.toml"], "--profile: "),
            (["--strategy", "teacache", "--threshold", "1", "--profile", "/x.toml"], "/x.toml: "),
        ],
    )
    def test_mistakes(self, options: list[str], said: str) -> None:
        code, output = ownware("bench", "replay", str(TRACES), *options)
        assert code == 2
        assert said in output

    def test_a_profile_of_another_model_is_refused(self, tmp_path: Path) -> None:
        recipe = Recipe("0" * 64, "1" * 64)
        other = replace(load_profile(EMBEDDED), recipe=recipe, recipe_hash=recipe.digest)
        write_profile(tmp_path / "other.toml", other)
        options = ["--strategy", "teacache", "--threshold", "1", "--profile", str(tmp_path / "other.toml")]
        code, said = ownware("bench", "replay", str(TRACES), *options)
        assert code == 2
        assert "recipe.weights is 000000000000" in said

    def test_a_file_that_is_no_trace(self) -> None:
        code, said = ownware("bench", "replay", "/nowhere.jsonl", "--strategy", "fbcache", "--threshold", "1")
        assert (code, "/nowhere.jsonl" in said) == (2, True)
