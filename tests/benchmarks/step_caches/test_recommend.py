from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.step_caches.recommend import Constraints, pareto_front, recommend
from benchmarks.step_caches.summary import Group, group_measurements
from tests.rows import measurement

SPEED = st.floats(1.1, 4.0)
SIMILARITY = st.floats(0.5, 1.0)
MEASURED = st.lists(
    st.tuples(st.sampled_from(["cache", "fewer_steps"]), SPEED, st.lists(SIMILARITY, min_size=2, max_size=2)),
    min_size=1,
    max_size=8,
)


def group_of(measured: list[tuple[str, float, list[float]]]) -> Group:
    return group_measurements(
        measurement(f"{kind} {number}", kind=kind, speedup=speed, ssim=ssim, prompt=str(prompt), executed=number + 1)  # pyright: ignore[reportArgumentType]
        for number, (kind, speed, similarity) in enumerate(measured)
        for prompt, ssim in enumerate(similarity)
    )[0]


@settings(max_examples=40)
@given(measured=MEASURED, least=SIMILARITY)
def test_the_fastest_that_holds_on_the_worst_prompt(measured: list, least: float) -> None:
    recommendation = recommend(group_of(measured), Constraints(min_ssim=least))
    holding = [speed for kind, speed, similarity in measured if kind == "cache" and min(similarity) >= least]
    assert (recommendation.setting is not None) == bool(holding)
    if recommendation.setting is not None:
        assert recommendation.setting.ssim.worst >= least
        assert abs(recommendation.setting.loop_speedup.mean - max(holding)) < 1e-9


@settings(max_examples=40)
@given(measured=MEASURED, least=SIMILARITY)
def test_fewer_steps_win_when_they_are_as_fast(measured: list, least: float) -> None:
    recommendation = recommend(group_of(measured), Constraints(min_ssim=least))
    shorter = [speed for kind, speed, similarity in measured if kind == "fewer_steps" and min(similarity) >= least]
    caches = [speed for kind, speed, similarity in measured if kind == "cache" and min(similarity) >= least]
    assert recommendation.fewer_steps_win == (bool(shorter) and (not caches or max(shorter) >= max(caches)))


@settings(max_examples=40)
@given(measured=MEASURED, first=SIMILARITY, second=SIMILARITY)
def test_a_stricter_demand_is_never_faster(measured: list, first: float, second: float) -> None:
    group = group_of(measured)
    loose, strict = (recommend(group, Constraints(min_ssim=least)).setting for least in sorted((first, second)))
    assert strict is None or (loose is not None and loose.loop_speedup.mean >= strict.loop_speedup.mean)


@settings(max_examples=40)
@given(measured=MEASURED, least=SIMILARITY)
def test_what_holds_on_the_worst_prompt_holds_on_average(measured: list, least: float) -> None:
    group = group_of(measured)
    worst, mean = (recommend(group, Constraints(min_ssim=least, mean=mean)).setting for mean in (False, True))
    assert worst is None or (mean is not None and mean.loop_speedup.mean >= worst.loop_speedup.mean)


@settings(max_examples=40)
@given(measured=MEASURED)
def test_nothing_beats_what_is_on_the_front(measured: list) -> None:
    rows = group_of(measured).rows
    best = pareto_front(rows)
    assert best
    assert [row.loop_speedup.mean for row in best] == sorted(row.loop_speedup.mean for row in best)
    for row in rows:
        beaten = any(
            other.loop_speedup.mean >= row.loop_speedup.mean
            and other.ssim.mean >= row.ssim.mean
            and (other.loop_speedup.mean, other.ssim.mean) != (row.loop_speedup.mean, row.ssim.mean)
            for other in rows
        )
        assert (row in best) != beaten


def test_each_bound_counts() -> None:
    (row,) = group_measurements([measurement(ssim=0.9)])[0].rows  # PSNR 40, FLIP 0.01
    assert Constraints(min_ssim=0.9, min_psnr=40, max_flip=0.01).accept(row)
    assert not Constraints(min_ssim=0.91).accept(row)
    assert not Constraints(min_psnr=41).accept(row)
    assert not Constraints(max_flip=0.009).accept(row)


def test_a_setting_that_missed_a_prompt_is_not_compared() -> None:
    whole = [measurement("slow", speedup=1.2, prompt=prompt) for prompt in ("a", "b")]
    recommendation = recommend(
        group_measurements([*whole, measurement("fast", speedup=3.0, prompt="a")])[0], Constraints(min_ssim=0.9)
    )
    assert recommendation.setting is not None
    assert recommendation.setting.name == "slow"


def test_a_setting_that_is_not_faster_is_never_chosen() -> None:
    group = group_measurements(
        [measurement("idle", speedup=1.0), measurement("no reuse", speedup=1.5, pattern="CCCC")]
    )[0]
    assert recommend(group, Constraints(min_ssim=0.5)).setting is None


def test_a_strategy_that_the_wire_lacks_is_named_when_it_is_faster() -> None:
    beyond = measurement("meancache", speedup=3.0, on_wire=False)
    recommendation = recommend(
        group_measurements([measurement("fb", speedup=2.0), beyond])[0], Constraints(min_ssim=0.9)
    )
    assert (
        recommendation.setting and recommendation.setting.name,
        recommendation.off_wire and recommendation.off_wire.name,
    ) == ("fb", "meancache")
    slower = measurement("meancache", speedup=1.5, on_wire=False)
    assert (
        recommend(group_measurements([measurement("fb", speedup=2.0), slower])[0], Constraints(min_ssim=0.9)).off_wire
        is None
    )
