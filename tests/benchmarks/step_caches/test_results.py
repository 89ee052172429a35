from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.plan import CachePlan
from benchmarks.step_caches.results import ResultsError, ResultsFile, Run, read_results, to_line
from tests.rows import SETUP, decisions, measurement

COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results" / "step-caches-cpu.jsonl"
FIRST, SECOND = measurement("one"), measurement("two", prompt="a blue star")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / "new" / "results.jsonl")
    for each in (FIRST, SECOND):
        assert each.case not in file
        file.append(each)
        assert each.case in file
    assert read_results(tmp_path / "new" / "results.jsonl") == (FIRST, SECOND)
    assert SECOND.case in ResultsFile(tmp_path / "new" / "results.jsonl")


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_line_that_a_kill_cut_off_is_dropped(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(to_line(FIRST) + "\n" + to_line(SECOND)[:-cut], encoding="utf-8")
    file = ResultsFile(path)
    assert FIRST.case in file
    assert SECOND.case not in file
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


def test_a_step_is_reused_when_both_branches_are() -> None:
    both = decisions("CRRC")
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


def test_committed_results_keep_their_keys() -> None:
    lines = COMMITTED.read_text(encoding="utf-8").splitlines()
    assert [to_line(measurement) for measurement in read_results(COMMITTED)] == lines
