from typing import Any

import pytest

from benchmarks.gpu.check import UNSTEADY, Change, NothingToCompare, compare_lines


def line(row: str, card: str = "H100", **figures: Any) -> dict[str, Any]:
    return {"row": row, "card": card, **figures}


def test_rows_of_the_same_card_are_compared() -> None:
    committed = [line("ours", seconds_per_step=0.2, seconds=10.0), line("ours", card="H200", seconds=1.0), line("edit")]
    new = [line("ours", seconds_per_step=0.22, seconds=2.2), line("edit", seconds=3.0), line("fp8", seconds=1.0)]
    assert compare_lines(committed, new) == [Change("ours", 0.2, 0.22)]


@pytest.mark.parametrize("row", sorted(UNSTEADY))
def test_what_is_too_unsteady_is_not_compared(row: str) -> None:
    committed = [line("ours", seconds=1.0), line(row, seconds=0.01)]
    new = [line("ours", seconds=1.0), line(row, seconds=0.02)]
    assert compare_lines(committed, new) == [Change("ours", 1.0, 1.0)]


def test_a_row_that_fails_now_is_a_loss() -> None:
    committed = [line("ours", seconds=1.0), line("edit", seconds=2.0)]
    new = [line("ours", seconds=1.0), line("edit", failed="RuntimeError: no kernel"), line("new", failed="why")]
    same, failed = compare_lines(committed, new)
    assert (same.lost, failed.lost) == (False, True)
    assert str(failed) == "edit: 2 s, now failed: RuntimeError: no kernel"


@pytest.mark.parametrize(("now", "lost"), [(0.19, False), (0.2, False), (0.209, False), (0.211, True)])
def test_more_than_five_percent_is_a_loss(now: float, lost: bool) -> None:
    assert Change("ours", 0.2, now).lost == lost


def test_a_change_in_words() -> None:
    assert str(Change("ours", 0.2, 0.22)) == "ours: 0.2 s, now 0.22 s (+10.0%)"


@pytest.mark.parametrize(("new", "card"), [([], "any card"), ([line("ours", card="A100", seconds=1.0)], "A100")])
def test_nothing_to_compare_with(new: list[dict[str, Any]], card: str) -> None:
    with pytest.raises(NothingToCompare, match=f"no committed line of {card}"):
        compare_lines([line("ours", seconds=1.0)], new)
