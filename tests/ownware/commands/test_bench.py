"""The commands of `ownware bench`, in this process: what they print, and what they say of mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmarks.step_caches.markdown import BEGIN, END
from benchmarks.step_caches.results import read_results, to_line
from ownware.cli import app
from tests.rows import measurement

RUNNER = CliRunner()
WIRE = {"fbCache": True, "fbCacheThreshold": 0.4}
MEASURED = [
    measurement("fb 0.1", speedup=3.0, ssim=0.8),
    measurement("fb 0.4", speedup=1.8, ssim=0.97, options=WIRE),
    measurement("10 steps", kind="fewer_steps", executed=10, speedup=1.7, ssim=0.96),
    measurement("8 steps", kind="fewer_steps", executed=8, speedup=2.5, ssim=0.9),
]


def bench(*arguments: str | Path) -> Result:
    return RUNNER.invoke(app, ["bench", *map(str, arguments)])


def written(folder: Path, results: Sequence = MEASURED) -> Path:
    path = folder / "results.jsonl"
    path.write_text("".join(to_line(each) + "\n" for each in results), encoding="utf-8")
    return path


def test_recommend_prints_the_wire_options_and_nothing_else(tmp_path: Path) -> None:
    done = bench("recommend", "--min-ssim", "0.95", "--results", written(tmp_path))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"acceleratorOptions": WIRE}
    assert "fb 0.4: 1.80× in the loop" in done.stderr
    assert "Merely" not in done.stderr


def test_recommend_says_when_fewer_steps_do(tmp_path: Path) -> None:
    done = bench("recommend", "--min-ssim", "0.9", "--results", written(tmp_path))
    assert json.loads(done.stdout) == {"acceleratorOptions": WIRE}
    assert "Merely drawing 8 steps: 2.50× in the loop" in done.stderr


def test_recommend_says_when_nothing_holds(tmp_path: Path) -> None:
    done = bench("recommend", "--min-ssim", "0.99", "--results", written(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no setting holds on the worst picture" in done.stderr
    assert "The nearest is fb 0.4, with an SSIM of 0.970." in done.stderr


def test_recommend_asks_which_of_several_is_meant(tmp_path: Path) -> None:
    path = written(tmp_path, [*MEASURED, measurement(steps=28, ssim=0.99, options=WIRE)])
    done = bench("recommend", "--min-ssim", "0.95", "--results", path)
    assert done.exit_code == 2
    assert "which of these is meant: --model runware:108@1 --steps 20" in done.stderr
    assert bench("recommend", "--min-ssim", "0.95", "--results", path, "--steps", "28").exit_code == 0
    assert bench("recommend", "--min-ssim", "0.95", "--results", path, "--steps", "28", "--size", "128").exit_code == 2
    done = bench("recommend", "--min-ssim", "0.95", "--results", path, "--steps", "50")
    assert done.exit_code == 2
    assert "there are only results of: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recommend"], "say what must hold: --min-ssim, --min-psnr or --max-flip"),
        (["recommend", "--min-ssim", "0.9", "--results", "/nowhere/r.jsonl"], "/nowhere/r.jsonl: "),
        (["recommend", "--min-ssim", "0.9", "--results", "/dev/null"], "--results: /dev/null is empty"),
        (["report", "--results", "/nowhere/r.jsonl"], "/nowhere/r.jsonl: "),
        (["caches", "--model", "x"], "--model: 'x' is not in the catalogue; there are runware:108@1, "),
        (["caches", "--model", "runware:108@20"], "takes 1"),
        (["caches", "--steps", "20,x"], "--steps: '20,x' is no list of whole numbers, such as 20,28"),
        (["caches", "--steps", "51"], "--steps: 51 is not from 1 to 50"),
        (["caches", "--seeds", "-1"], "--seeds: -1 is not from 0 to "),
        (["caches", "--size", "200"], "--size: 200 is no multiple of 16"),
        (["caches", "--size", "256x4096"], "--size: 4096 is not from 128 to 2048"),
        (["caches", "--size", "1x2x3"], "--size: '1x2x3' is no size in pixels, such as "),
        (["caches", "--prompts", "/nowhere/p.txt"], "/nowhere/p.txt: "),
        (["caches", "--settings", "/nowhere/s.toml"], "/nowhere/s.toml: "),
        (["caches", "--results", "/dev/null/r.jsonl"], "/dev/null"),
    ],
)
def test_mistakes_end_with_a_plain_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = bench(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("ownware: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownware.commands.bench._NEEDED", ("no_such_library",))
    done = bench("report", "--results", written(tmp_path))
    assert done.exit_code == 2
    assert "no_such_library is not installed: pip install 'ownware[benchmark]'" in done.stderr


def test_report_writes_the_page_the_table_and_the_plot(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    written(tmp_path)
    done = bench("report", "--out", tmp_path, "--readme", readme, "--plot", tmp_path / "plot.png")
    assert done.exit_code == 0
    assert "| **fb 0.4** | 1.80× (1.80) |" in readme.read_text(encoding="utf-8")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    readme.write_text("no markers", encoding="utf-8")
    done = bench("report", "--out", tmp_path, "--readme", readme)
    assert done.exit_code == 2
    assert "--readme: " in done.stderr


def test_caches_measures_reports_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a large red circle at the center on a white background", encoding="utf-8")
    settings = "[[settings]]\nacceleratorOptions = { fbCache = true, fbCacheThreshold = 0, cacheStartStep = 1 }"
    (tmp_path / "s.toml").write_text(settings, encoding="utf-8")
    command = ["caches", "--weights", "embedded", "--devices", "cpu", "--size", "128", "--steps", "4"]
    command += ["--prompts", str(tmp_path / "p.txt"), "--settings", str(tmp_path / "s.toml"), "--out", str(tmp_path)]
    done = bench(*command)
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
    assert "0 of them new" in bench(*command).stderr
