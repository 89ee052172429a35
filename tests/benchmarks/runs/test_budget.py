import pytest

from benchmarks.runs.budget import Budget, Figures, Row, run_rows, select_rows


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


def test_a_row_that_fails_does_not_stop_the_others(clock: Clock) -> None:
    def fails() -> Figures:
        raise RuntimeError("out of memory\nat length")

    found = dict(run_rows([Row("a", fails), row("b", clock, 1)], Budget(1, clock)))
    assert found == {"a": {"failed": "RuntimeError: out of memory"}, "b": {"seconds": 1}}


def test_rows_are_chosen_by_words_of_their_names(clock: Clock) -> None:
    rows = [row(name, clock, 1) for name in ("ours", "ours, fp8", "diffusers")]
    assert select_rows(rows, []) == rows
    assert [each.name for each in select_rows(rows, ["fp8", "diff"])] == ["ours, fp8", "diffusers"]
    with pytest.raises(ValueError, match="no row has nothing in its name; there are: ours, ours, fp8, diffusers"):
        select_rows(rows, ["nothing"])
