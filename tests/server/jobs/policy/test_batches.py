"""Which tasks share a turn."""

from dataclasses import replace

import pytest

from pipelines.batching import BatchGain, BatchGains, BatchShape, shape_of
from server.jobs.policy.batches import GOES_ALONE, Member, count_turns, has_room, joins, member_of, most_of
from tests.server.jobs.common import REQUEST

SHAPE = BatchShape("a:1@1", 512, 512, 0, True, ())
ONE = Member(SHAPE)
OTHER = Member(replace(SHAPE, width=256))
GAIN = BatchGain(REQUEST.model, 256, 256, 2, 1.4, 0.0, joined=1.2, references=1)


def three(shape: BatchShape) -> int:
    return 3


def one(shape: BatchShape) -> int:
    return 1


@pytest.mark.parametrize(
    ("task", "others", "expected"),
    [
        (ONE, [], False),
        (ONE, [ONE], True),
        (ONE, [ONE, ONE], True),
        (ONE, [ONE, ONE, ONE], False),
        (replace(ONE, images=2), [ONE], True),
        (replace(ONE, images=2), [ONE, ONE], False),
        (ONE, [replace(ONE, images=3)], False),
        (ONE, [OTHER, OTHER, OTHER, ONE], True),
        (ONE, [OTHER], False),
        (ONE, [replace(ONE, low=True)], False),
        (replace(ONE, low=True), [replace(ONE, low=True)], True),
        (GOES_ALONE, [GOES_ALONE], False),
    ],
)
def test_who_joins_a_batch(task: Member, others: list[Member], expected: bool) -> None:
    assert joins(task, others, three) is expected
    assert not joins(task, others, one)


def test_a_batch_has_room_for_one_more() -> None:
    assert not has_room([], three)
    assert has_room([OTHER, ONE, ONE], three)
    assert not has_room([ONE, ONE, ONE], three)
    assert not has_room([ONE], one)


def test_a_batch_has_one_turn() -> None:
    members = [ONE, ONE, OTHER, GOES_ALONE, GOES_ALONE, replace(ONE, low=True)]
    assert count_turns(members, three) == 5
    assert count_turns(members, one) == 6
    assert count_turns([], three) == 0


def test_what_was_measured() -> None:
    gains = BatchGains("card", "2.13", (GAIN, replace(GAIN, images=4, joined=1.0)))
    shape = shape_of(REQUEST)
    assert shape is not None
    assert most_of(gains)(shape) == 2
    assert most_of(None)(shape) == 1
    assert member_of(replace(REQUEST, count=9), gains) == Member(shape, 4)
    assert member_of(REQUEST, gains, left=1, low=True) == Member(shape, 1, low=True)
