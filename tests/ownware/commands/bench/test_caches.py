"""`ownware bench caches`: it measures, reports and resumes, and names what is wrong."""

from pathlib import Path

import pytest
from typer.testing import Result

from benchmarks.step_caches.results import read_results
from tests.ownware.commands.bench.common import UNKNOWN_MODEL, run_bench

PROMPT = "a large red circle at the center on a white background"
SETTINGS = "[[settings]]\nacceleratorOptions = { fbCache = true, fbCacheThreshold = 0, cacheStartStep = 1 }"


def caches(*arguments: str | Path) -> Result:
    return run_bench("caches", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        UNKNOWN_MODEL,
        (["--model", "runware:108@20"], "takes 1"),
        (["--steps", "20,x"], "--steps: '20,x' is no list of whole numbers, such as 20,28"),
        (["--steps", "51"], "--steps: 51 is not from 1 to 50"),
        (["--seeds", "-1"], "--seeds: -1 is not from 0 to 9223372036854775807"),
        (["--size", "200"], "--size: 200 is no multiple of 16"),
        (["--prompts", "/nowhere/p.txt"], "/nowhere/p.txt: "),
        (["--settings", "/nowhere/s.toml"], "/nowhere/s.toml: "),
        (["--results", "/dev/null/r.jsonl"], "/dev/null"),
    ],
)
def test_mistakes_end_with_a_plain_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = caches(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("ownware: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_measures_reports_and_resumes(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text(PROMPT, encoding="utf-8")
    (tmp_path / "s.toml").write_text(SETTINGS, encoding="utf-8")
    options = ["--weights", "embedded", "--devices", "cpu", "--size", "128", "--steps", "4"]
    options += ["--prompts", str(tmp_path / "p.txt"), "--settings", str(tmp_path / "s.toml"), "--out", str(tmp_path)]
    done = caches(*options)
    assert done.exit_code == 0, done.stderr
    results = read_results(tmp_path / "results.jsonl")
    assert {(each.case.kind, each.case.executed) for each in results} == {
        ("uncached", 4),
        ("other_kernel", 4),
        ("fewer_steps", 2),
        ("fewer_steps", 3),
        ("cache", 4),
    }
    assert results[-1].options == {"fbCache": True, "fbCacheThreshold": 0, "cacheStartStep": 1}
    assert results[-1].reused_steps == 1  # the last two never are, unless the task says so
    assert (tmp_path / "report.html").exists()
    assert "0 of them new" in caches(*options).stderr


def test_an_interrupted_run_says_how_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("ownware.cache_benchmark.run_benchmark", interrupted)
    done = caches("--weights", "embedded", "--out", tmp_path)
    assert done.exit_code == 130
    assert f"interrupted; {tmp_path / 'results.jsonl'} keeps the results so far" in done.stderr
