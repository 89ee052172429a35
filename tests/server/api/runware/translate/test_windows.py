import pytest

from server.api.runware.translate.windows import step_window

NONE = (None, None)


def test_nothing_given_is_the_default() -> None:
    assert step_window(20, NONE, NONE, (3, 18)) == (3, 18)


def test_steps_are_taken_as_they_are() -> None:
    assert step_window(20, (0, 5), NONE, (3, 18)) == (0, 5)


def test_one_bound_alone_leaves_the_other_at_its_default() -> None:
    assert step_window(20, (5, None), NONE, (3, 18)) == (5, 18)
    assert step_window(20, NONE, (None, 50), (3, 18)) == (3, 10)


@pytest.mark.parametrize(
    ("percentages", "window"),
    [((0, 100), (0, 20)), ((10, 55), (2, 11)), ((11, 51), (2, 11)), ((99, 100), (19, 20)), ((4, 1), (0, 1))],
)
def test_a_percentage_takes_in_every_step_that_it_touches(
    percentages: tuple[int, int], window: tuple[int, int]
) -> None:
    assert step_window(20, NONE, percentages, (3, 18)) == window


def test_it_ends_with_the_last_executed_step() -> None:
    assert step_window(8, (2, 20), NONE, (0, 8)) == (2, 8)
