import pytest

from benchmarks.fit.cards import Case, StepTimes, plan


def test_a_case_has_a_name() -> None:
    assert Case("bf16", None).name == "bf16, resident, text to image"
    assert Case("fp8", 16, 1).name == "fp8, 16 GB, edit, 1 reference"


def test_a_smaller_card_streams_more() -> None:
    plans = [plan(Case("bf16", gib), 1024) for gib in (48, 32, 24, 16, 12)]
    streamed = [each.transformer.streamed_blocks for each in plans]
    assert streamed == sorted(streamed)
    assert streamed[0] == 0
    assert streamed[-1] > 0
    assert all(each.transformer.precision == "bf16" for each in plans)


def test_the_ratio_is_streamed_over_resident() -> None:
    assert StepTimes(0.25, 0.5, 10e9, 25e9).ratio == 2.0


@pytest.mark.parametrize(
    ("times", "compute", "link", "ratio"),
    [
        (StepTimes(0.25, 0.5, 12.5e9, 25e9), 1.0, 25e9, 1.0),  # copies of 0.5 s hide behind 1 s of computing
        (StepTimes(0.25, 0.5, 12.5e9, 25e9), 1.0, 10e9, 1.25),  # 1.25 s of copies do not
        (StepTimes(0.25, 0.6, 12.5e9, 25e9), 1.0, 25e9, 1.1),  # 0.1 s was lost beside both
        (StepTimes(0.25, 0.2, 0.0, 25e9), 1.0, 25e9, 1.0),
    ],
)
def test_the_ratio_of_a_slower_card(times: StepTimes, compute: float, link: float, ratio: float) -> None:
    assert times.ratio_on_slower_card(compute, link) == pytest.approx(ratio)
