"""Which tasks share a turn: those of a shape whose images are faster together have their steps as one batch.

The worker and the queue decide by the same rules. Pure: knows no clock, no device and no worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.batching import BatchGains, BatchShape, shape_of
from pipelines.request import RenderRequest

Most = Callable[[BatchShape], int]  # the most images of a shape that are faster together


def never_together(shape: BatchShape) -> int:
    """Nothing was measured."""
    return 1


@dataclass(frozen=True, slots=True)
class Member:
    """A task as a batch sees it. It has `images` under way at a time, and goes alone without a shape.

    One of low priority is in no batch with others, because it has no step while they have some.
    """

    shape: BatchShape | None
    images: int = 1
    low: bool = False


GOES_ALONE = Member(None)


def most_of(gains: BatchGains | None) -> Most:
    """What measurements say; without any, nothing is together."""
    return never_together if gains is None else gains.tasks_together


def member_of(request: RenderRequest, gains: BatchGains, *, left: int | None = None, low: bool = False) -> Member:
    """The task of a request, with `left` images that are not rendered yet: all of them by default."""
    left = request.count if left is None else left
    return Member(shape_of(request), min(left, gains.images_together(request)), low)


def joins(task: Member, others: Sequence[Member], most: Most) -> bool:
    """Whether a task can join a batch of others, whose steps run."""
    if task.shape is None:
        return False
    peers = [each for each in others if (each.shape, each.low) == (task.shape, task.low)]
    return bool(peers) and task.images + sum(each.images for each in peers) <= most(task.shape)


def has_room(members: Sequence[Member], most: Most) -> bool:
    """Whether one more task of the shape of some could join them."""
    return any(joins(Member(each.shape, 1, each.low), members, most) for each in members)


def count_turns(members: Sequence[Member], most: Most) -> int:
    """How many turns these tasks have: those of a batch have one."""
    batched = [each for each in members if each.shape is not None and most(each.shape) > 1]
    return len(members) - len(batched) + len({(each.shape, each.low) for each in batched})
