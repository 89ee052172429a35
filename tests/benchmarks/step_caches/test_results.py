import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel.cache.plan import CachePlan
from benchmarks.step_caches.results import ResultsError, ResultsFile, Run, read_results, to_line
from tests.rows import SETUP, by_client, decisions, measurement

COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results" / "step-caches-cpu.jsonl"
FIRST, SECOND = measurement("one"), measurement("two", prompt="a blue star")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "new" / "results.jsonl")
    for each in (FIRST, SECOND):
        assert file.repeats(each.case) == 0
        file.append(each)
        assert file.repeats(each.case) == 1
    assert read_results(tmp_path / "new" / "results.jsonl") == (FIRST, SECOND)
    assert ResultsFile(tmp_path / "new" / "results.jsonl").repeats(SECOND.case) == 1


def test_more_runs_of_a_case_are_joined(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    for each in (FIRST, SECOND, FIRST):
        file.append(each)
    joined, other = read_results(tmp_path / "results.jsonl")
    assert (joined.runs, joined.baselines) == (2 * FIRST.runs, 2 * FIRST.baselines)
    assert other == SECOND
    assert ResultsFile(tmp_path / "results.jsonl").repeats(FIRST.case) == 2


@pytest.mark.parametrize("prompt", ["a\u2028b", "a\u0085b", "a\x0bb", "红\nblue"])
def test_a_prompt_may_have_any_line_separator(prompt: str, tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "results.jsonl")
    file.append(measurement(prompt=prompt))
    file.append(SECOND)
    assert [each.case.prompt for each in read_results(tmp_path / "results.jsonl")] == [prompt, SECOND.case.prompt]


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_line_that_a_kill_cut_off_is_dropped(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(to_line(FIRST) + "\n" + to_line(SECOND)[:-cut], encoding="utf-8")
    file = ResultsFile(path)
    assert (file.repeats(FIRST.case), file.repeats(SECOND.case)) == (1, 0)
    file.append(SECOND)
    assert read_results(path) == (FIRST, SECOND)


def test_everything_that_decides_over_a_result_is_in_its_key() -> None:
    case = FIRST.case
    assert case.plan is not None
    changed = [
        *(replace(case, setup=replace(SETUP, **{name: "x"})) for name in ("model", "weights", "device", "dtype")),
        replace(case, setup=replace(SETUP, width=512)),
        replace(case, prompt="x"),
        replace(case, references=("x",)),
        replace(case, seed=2),
        replace(case, steps=28),
        replace(case, kind="uncached"),
        replace(case, executed=8),
        replace(case, plan=replace(case.plan, max_run=1)),
        replace(case, plan=CachePlan("dbcache", case.plan.threshold, 3, 18, 3)),
    ]
    keys = {other.key for other in changed}
    assert len(keys) == len(changed)
    assert case.key not in keys
    assert case.key == replace(case).key


def test_a_speed_up_is_the_median_of_neighbours() -> None:
    runs = tuple(Run(loop, loop + 1, None, 0) for loop in (1.0, 4.0, 2.0))
    baselines = tuple(Run(loop, loop + 1, None, 0) for loop in (2.0, 4.0, 8.0))
    measured = replace(FIRST, runs=runs, baselines=baselines)
    assert measured.loop_speedup == 2.0
    assert measured.request_speedup == pytest.approx(1.5)


def test_a_client_of_a_server_times_whole_requests_alone(tmp_path: Path) -> None:
    measured = by_client(FIRST)
    assert measured.loop_speedup is None
    assert measured.speedup == measured.request_speedup == FIRST.request_speedup
    assert FIRST.speedup == FIRST.loop_speedup
    (tmp_path / "results.jsonl").write_text(to_line(measured) + "\n", encoding="utf-8")
    assert read_results(tmp_path / "results.jsonl") == (measured,)


def test_a_step_is_reused_when_both_branches_are() -> None:
    both = decisions("CRRC" + 16 * "C")
    assert replace(FIRST, decisions=both).reused_steps == 2
    one = tuple(replace(d, reason="threshold") if (d.step, d.branch) == (1, "uncond") else d for d in both)
    assert replace(FIRST, decisions=one).reused_steps == 1


def test_a_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(to_line(FIRST) + '\n{"case": 1}\n', encoding="utf-8")
    with pytest.raises(ResultsError, match=r"results\.jsonl, line 2: case: "):
        read_results(path)
    with pytest.raises(ResultsError, match="No such file"):
        read_results(tmp_path / "nothing")


def broken(**changes: Any) -> str:
    return json.dumps(json.loads(to_line(FIRST)) | changes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "Invalid JSON"),
        ("[]", "Input should be"),
        (broken(runs=[], twins=[]), "runs: "),
        (broken(twins=[]), "twins: each run needs one"),
        (broken(runs=[{"loop": 0, "request": 1, "peak_mib": None, "host_reads": 0}]), "runs.0.loop: "),
        (broken(runs=[{"loop": -1, "request": 1, "peak_mib": None, "host_reads": 0}]), "runs.0.loop: "),
        (broken(runs=[{"loop": float("nan"), "request": 1, "peak_mib": None, "host_reads": 0}]), "runs.0.loop: "),
        (broken(likeness={"psnr": 40, "ssim": 2, "flip": 0}), "likeness.ssim: "),
        (broken(likeness={"psnr": float("inf"), "ssim": 1, "flip": 0}), "likeness.psnr: "),
        (broken(decisions=[]), "decisions: each step of a cache needs one"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(f"{to_line(FIRST)}\n{line}\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"results\.jsonl, line 2: ") as caught:
        read_results(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\nbytes", b"a letter without a newline", b"\xff\xfe{\n"])
def test_another_file_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"picture\.png"):
        ResultsFile(path)
    assert path.read_bytes() == content


def test_committed_results_keep_their_keys() -> None:
    lines = COMMITTED.read_text(encoding="utf-8").splitlines()
    assert [to_line(measurement) for measurement in read_results(COMMITTED)] == lines
