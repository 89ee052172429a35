from hypothesis import given
from hypothesis import strategies as st

from accel.cache.gate import Gate

STEPS = st.integers(0, 50)


def pattern(gate: Gate) -> str:
    """What a strategy that always wants reuse gets, one letter a step."""
    letters, run = "", 0
    for step in range(gate.total):
        reason = gate.reason_to_compute(step, run)
        letters += "C" if reason else "R"
        run = 0 if reason else run + 1
    return letters


def test_an_example() -> None:
    assert pattern(Gate(total=12, start=3, end=9, max_run=2)) == "CCCRRCRRCCCC"


def test_reasons() -> None:
    gate = Gate(total=10, start=2, end=8, max_run=3)
    assert [gate.reason_to_compute(step, 0) for step in (0, 1, 2, 7, 8, 9)] == [
        "first",
        "window",
        None,
        None,
        "window",
        "last",
    ]
    assert gate.reason_to_compute(5, 3) == "run_cap"


@given(total=st.integers(1, 50), start=STEPS, end=STEPS, max_run=st.integers(1, 5))
def test_every_limit_holds(total: int, start: int, end: int, max_run: int) -> None:
    letters = pattern(Gate(total, start, end, max_run))
    assert letters[0] == letters[-1] == "C"
    assert "R" * (max_run + 1) not in letters
    assert all(start <= step < end for step, letter in enumerate(letters) if letter == "R")
    free = letters[max(start, 1) : min(end, total - 1)]
    assert "CC" not in free, "a step that the gate allows is reused"


@given(total=st.integers(1, 50), start=STEPS, end=STEPS, max_run=st.integers(1, 4))
def test_more_freedom_is_never_less_reuse(total: int, start: int, end: int, max_run: int) -> None:
    reused = pattern(Gate(total, start, end, max_run)).count("R")
    assert pattern(Gate(total, start, end, max_run + 1)).count("R") >= reused
    assert pattern(Gate(total, start, end + 1, max_run)).count("R") >= reused
    assert pattern(Gate(total, start + 1, end, max_run)).count("R") <= reused
