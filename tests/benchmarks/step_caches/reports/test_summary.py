from dataclasses import replace

import pytest

from benchmarks.step_caches.reports.summary import MIN_NOISE, Spread, WordCounts, group_measurements
from benchmarks.step_caches.results import Run, Similarity
from tests.rows import BASELINE, SETUP, by_client, measurement


def test_a_row_has_the_mean_and_the_worst_prompt() -> None:
    results = [
        measurement(speedup=2.0, ssim=0.98, prompt="a", similarity=Similarity(40.0, 0.98, 0.02)),
        measurement(speedup=1.5, ssim=0.90, prompt="b", similarity=Similarity(30.0, 0.90, 0.06)),
    ]
    ((row,),) = (group.rows for group in group_measurements(results))
    assert row.loop_speedup == Spread(1.75, 1.5)
    assert (row.ssim.mean, row.ssim.worst) == (pytest.approx(0.94), 0.90)
    assert row.psnr == Spread(35.0, 30.0)
    assert row.flip is not None
    assert (row.flip.mean, row.flip.worst) == (pytest.approx(0.04), 0.06)  # the greatest is the worst
    assert (row.worst_prompt, row.cases, row.reused_steps, row.host_syncs) == ("b", 2, 4.0, 19.0)
    assert row.peak_mib is None


def test_results_of_other_places_and_steps_are_kept_apart() -> None:
    results = [measurement(), measurement(steps=28), measurement(setup=replace(SETUP, device="cuda:0"))]
    assert len(group_measurements(results)) == 3


def test_what_is_timed_otherwise_is_kept_apart() -> None:
    timed, asked = group_measurements([measurement(), by_client(measurement(prompt="b"))])
    assert (timed.loop_timed, asked.loop_timed) == (True, False)
    (row,) = asked.rows
    assert (row.loop_speedup, row.loop, row.flip, row.host_syncs) == (None, None, None, None)
    assert row.speedup == row.request_speedup
    assert timed.rows[0].speedup == timed.rows[0].loop_speedup


def test_the_clock_is_described() -> None:
    floor = measurement("again", kind="uncached", speedup=1 / 1.05)
    descriptions = [group.clock for group in group_measurements([floor, by_client(measurement())])]
    assert descriptions[0] == "The timings vary by 5 %."
    assert descriptions[1] == "Equal runs were not compared, so nothing says how far the timings vary."
    (noisy,) = group_measurements([by_client(measurement("again", kind="uncached", speedup=2))])
    assert noisy.clock == noisy.noise_advice
    assert "Measure again with more rounds while the machine is idle." in noisy.clock


def test_of_a_model_only_the_weights_drawn_with_last_count() -> None:
    new = replace(SETUP, weights="e" * 64)
    (group,) = group_measurements([measurement(ssim=0.5), measurement(ssim=0.9, setup=new)])
    assert (group.setup, group.rows[0].ssim.mean) == (new, 0.9)


@pytest.mark.parametrize(
    ("pattern", "speedup", "flag"),
    [
        ("CRRC", 1.5, None),
        ("CRRC", 1.0, "reuses steps and is not faster"),
        ("CRRC", 1.04, "reuses steps and is not faster"),  # within what the clock strays by
        ("CCCC", 1.0, "reused no step"),
        ("CCCC", 1.3, "faster, though no step was reused"),
    ],
)
def test_speed_without_reuse_and_reuse_without_speed_are_flagged(
    pattern: str, speedup: float, flag: str | None
) -> None:
    floor = measurement("again", kind="uncached", speedup=1 / 0.95)
    (group,) = group_measurements([floor, measurement(pattern=pattern, speedup=speedup)])
    assert group.noise == pytest.approx(1 / 0.95 - 1)
    assert [row.flag for row in group.rows] == [None, flag]


def test_without_a_floor_the_clock_is_trusted_so_far() -> None:
    assert group_measurements([measurement()])[0].noise == MIN_NOISE


def test_times_are_over_prompts_and_repeats() -> None:
    runs = [Run(loop=float(n), request=n + 1.0, peak_mib=n, host_syncs=0) for n in range(1, 21)]
    results = [measurement(prompt=str(n), runs=tuple(runs[n : n + 10]), baselines=(BASELINE,) * 10) for n in (0, 10)]
    (row,) = group_measurements(results)[0].rows
    assert row.loop is not None
    assert (row.loop.p50, row.request.p50, row.peak_mib) == (10.5, 11.5, 20)
    assert row.loop.p95 == pytest.approx(19.05)


def test_words_are_counted_where_there_are_any() -> None:
    texts = [("OPEN", "OPEN"), ("OPFN", "OPEN"), ("", ""), ("HELO", "HE L0")]
    results = [
        measurement(prompt=str(n), words=("OPEN",), similarity=Similarity(40.0, 0.9, 0.0, read, baseline))
        for n, (read, baseline) in enumerate(texts)
    ]
    (row,) = group_measurements([*results, measurement(prompt="no words")])[0].rows
    assert row.words == WordCounts(prompts=4, right=1, baseline_right=2, legible=3, same=1)
    assert group_measurements([measurement()])[0].rows[0].words is None
