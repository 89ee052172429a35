import signal
from collections.abc import Callable

import pytest

from benchmarks.runs.budget import Budget, Figures, Row, RowTooSlow, rows_after, run_rows, select_rows, time_limit
from pipelines.errors import ResultError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def row(name: str, clock: Clock, takes: float, expected: float = 10) -> Row:
    def measure() -> Figures:
        clock.now += takes
        return {"seconds": takes}

    return Row(name, measure, expected)


def test_rows_run_in_order_until_the_time_is_up(clock: Clock) -> None:
    budget = Budget(1, clock)
    found = dict(run_rows([row("a", clock, 45), row("b", clock, 1, expected=20), row("c", clock, 2)], budget))
    assert found["a"] == {"seconds": 45}
    assert found["b"] == {"skipped": "takes about 20 s, and 15 s are left"}
    assert found["c"] == {"seconds": 2}


def test_a_row_is_given_before_the_next_one_starts(clock: Clock) -> None:
    results = run_rows([row("a", clock, 1), row("b", clock, 1)], Budget(1, clock))
    assert next(results)[0] == "a"
    assert clock.now == 101


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of memory\nat length"), "RuntimeError: out of memory"),
        (ResultError("not finite"), "ResultError: not finite"),
        (AssertionError(), "AssertionError: AssertionError"),
        (SystemExit("another schedule"), "SystemExit: another schedule"),
        (
            RuntimeError("backend='inductor' raised:\nno compiler\nat length"),
            "RuntimeError: backend='inductor' raised: no compiler",
        ),
    ],
)
def test_a_row_that_fails_does_not_stop_the_others(clock: Clock, error: BaseException, said: str) -> None:
    def fails() -> Figures:
        raise error

    recovered = list[str]()
    rows = [Row("a", fails), row("b", clock, 1)]
    found = dict(run_rows(rows, Budget(1, clock), lambda: recovered.append("freed")))
    assert found == {"a": {"failed": said}, "b": {"seconds": 1}}
    assert recovered == ["freed"]


def test_a_device_that_refuses_to_be_freed_does_not_end_the_run(clock: Clock) -> None:
    def refuses() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def fails() -> Figures:
        raise RuntimeError("CUDA error")

    found = dict(run_rows([Row("a", fails), row("b", clock, 1)], Budget(1, clock), refuses))
    assert found == {"a": {"failed": "RuntimeError: CUDA error"}, "b": {"seconds": 1}}


def test_an_interrupt_ends_the_run(clock: Clock) -> None:
    def interrupted() -> Figures:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_rows([Row("a", interrupted)], Budget(1, clock)))


def test_a_row_that_is_ended_in_the_compiler_says_so(clock: Clock) -> None:
    def never() -> Figures:
        try:
            signal.raise_signal(signal.SIGALRM)
        except RowTooSlow as error:
            raise RuntimeError("backend='inductor' raised:") from error
        return {"seconds": 1}

    assert dict(run_rows([Row("a", never)], Budget(1, clock))) == {"a": {"failed": "RowTooSlow: ended after 60 s"}}


def test_a_row_that_takes_too_long_is_ended(clock: Clock) -> None:
    def never() -> Figures:
        signal.raise_signal(signal.SIGALRM)  # as the timer does
        return {"seconds": 1}

    found = dict(run_rows([Row("a", never), row("b", clock, 1)], Budget(1, clock)))
    assert found == {"a": {"failed": "RowTooSlow: ended after 60 s"}, "b": {"seconds": 1}}


@pytest.mark.parametrize(
    ("expected", "minutes", "limit"), [(100, 60, 300), (1, 60, 150), (100, 2, 120)], ids=["long", "short", "last"]
)
def test_a_row_gets_several_times_its_seconds_but_no_more_than_are_left(
    clock: Clock, expected: float, minutes: float, limit: float
) -> None:
    found = list[float]()

    def measure() -> Figures:
        found.append(signal.getitimer(signal.ITIMER_REAL)[0])
        return {}

    list(run_rows([Row("a", measure, expected)], Budget(minutes, clock)))
    assert found == [pytest.approx(limit, abs=5)]


def test_the_limit_and_the_handler_end_with_the_block() -> None:
    def handler() -> Callable[..., object] | int | None:
        return signal.getsignal(signal.SIGALRM)

    before = handler()
    with pytest.raises(RowTooSlow), time_limit(100):
        signal.raise_signal(signal.SIGALRM)
    assert handler() is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_run_goes_on_behind_a_row(clock: Clock) -> None:
    rows = [row(name, clock, 1) for name in ("a", "b", "c")]
    assert rows_after(rows, None) == rows
    assert [each.name for each in rows_after(rows, "a")] == ["b", "c"]
    assert rows_after(rows, "c") == []
    with pytest.raises(ValueError, match="no row is called d; there are: a, b, c"):
        rows_after(rows, "d")


def test_rows_are_chosen_by_words_of_their_names(clock: Clock) -> None:
    rows = [row(name, clock, 1) for name in ("ours", "ours, fp8", "diffusers")]
    assert select_rows(rows, []) == rows
    assert [each.name for each in select_rows(rows, ["fp8", "diff"])] == ["ours, fp8", "diffusers"]
    with pytest.raises(ValueError, match="no row has nothing in its name; there are: ours, ours, fp8, diffusers"):
        select_rows(rows, ["nothing"])
