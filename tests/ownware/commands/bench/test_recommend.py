"""`ownware bench recommend`: what it prints, and what it says of mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import Result

from benchmarks.step_caches.results import Measurement, to_line
from tests.ownware.commands.bench.common import run_bench
from tests.rows import by_client, measurement

WIRE = {"fbCache": True, "fbCacheThreshold": 0.4}
MEASURED = [
    measurement("fb 0.1", speedup=3.0, ssim=0.8),
    measurement("fb 0.4", speedup=1.8, ssim=0.97, options=WIRE),
    measurement("meancache 0.5", speedup=1.9, ssim=0.97, on_wire=False),
    measurement("10 steps", kind="fewer_steps", executed=10, speedup=1.7, ssim=0.96),
    measurement("again", kind="uncached", speedup=1.01, ssim=1.0),
    measurement("8 steps", kind="fewer_steps", executed=8, speedup=2.5, ssim=0.9),
]


def recommend(*arguments: str | Path) -> Result:
    return run_bench("recommend", *arguments)


def written(folder: Path, measurements: Sequence[Measurement] = MEASURED) -> Path:
    path = folder / "results.jsonl"
    path.write_text("".join(to_line(each) + "\n" for each in measurements), encoding="utf-8")
    return path


def test_it_prints_the_wire_options_and_nothing_else(tmp_path: Path) -> None:
    done = recommend("--min-ssim", "0.95", "--results", written(tmp_path))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"acceleratorOptions": WIRE}
    assert "fb 0.4: 1.80× in the loop" in done.stderr
    assert "Without a cache, fewer steps reach 10 steps: 1.70× in the loop" in done.stderr
    assert "The strategy meancache 0.5: 1.90× in the loop" in done.stderr


def test_it_prints_fewer_steps_where_they_win(tmp_path: Path) -> None:
    done = recommend("--min-ssim", "0.9", "--results", written(tmp_path))
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"steps": 8}
    assert "8 steps: 2.50× in the loop" in done.stderr
    assert "The best cache is fb 0.4: 1.80× in the loop" in done.stderr


def test_it_refuses_when_the_clock_strayed(tmp_path: Path) -> None:
    noisy = measurement("again", kind="uncached", speedup=1.49, prompt="a blue star")
    done = recommend("--min-ssim", "0.9", "--results", written(tmp_path, [*MEASURED, noisy]))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no recommendation. Equal runs differ by up to 49 % in time" in done.stderr
    assert "Measure again with --repeats 3" in done.stderr


def test_it_tells_when_no_cache_meets_the_constraints(tmp_path: Path) -> None:
    shorter = measurement("14 steps", kind="fewer_steps", executed=14, speedup=1.4, ssim=0.995)
    done = recommend("--min-ssim", "0.99", "--results", written(tmp_path, [*MEASURED, shorter]))
    assert json.loads(done.stdout) == {"steps": 14}
    assert "no cache meets the constraints" in done.stderr


def test_it_tells_when_nothing_meets_the_constraints(tmp_path: Path) -> None:
    done = recommend("--min-ssim", "0.99", "--mean", "--results", written(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no setting meets the constraints on average" in done.stderr
    assert "The nearest is fb 0.4, with an SSIM of 0.970." in done.stderr


def test_the_results_of_the_web_page_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, [by_client(each) for each in MEASURED])
    done = recommend("--min-ssim", "0.95", "--results", path)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"acceleratorOptions": WIRE}
    assert "fb 0.4: 1.68× in the whole request, SSIM 0.970" in done.stderr
    assert "in the loop" not in done.stderr
    done = recommend("--max-flip", "0.1", "--results", path)
    assert done.exit_code == 2
    assert "--max-flip: these results have no FLIP; use --min-ssim or --min-psnr" in done.stderr


def test_several_measured_groups_have_to_be_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path, [*MEASURED, measurement(steps=28, ssim=0.99, options=WIRE)])
    done = recommend("--min-ssim", "0.95", "--results", path)
    assert done.exit_code == 2
    assert "several match, choose one: --model runware:108@1 --steps 20" in done.stderr
    assert recommend("--min-ssim", "0.95", "--results", path, "--steps", "28").exit_code == 0
    assert recommend("--min-ssim", "0.95", "--results", path, "--steps", "28", "--size", "128").exit_code == 2
    done = recommend("--min-ssim", "0.95", "--results", path, "--steps", "50")
    assert done.exit_code == 2
    assert "there are only results of: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least one constraint: --min-ssim, --min-psnr or --max-flip"),
        (["--min-ssim", "0.9", "--results", "/nowhere/r.jsonl"], "/nowhere/r.jsonl: "),
        (["--min-ssim", "0.9", "--results", "/dev/null"], "--results: /dev/null is empty"),
        (["--min-ssim", "0.9", "--size", "wide"], "--size: 'wide' is no size in pixels"),
    ],
)
def test_mistakes_end_with_a_plain_message(arguments: list[str], message: str) -> None:
    done = recommend(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("ownware: ")
    assert message in done.stderr
