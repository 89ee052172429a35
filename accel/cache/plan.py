"""What a request may ask of a step cache: plain data, fully resolved.

Knows no tensor and imports no torch, so that whoever builds requests can build it.
"""

from dataclasses import dataclass
from typing import Literal

from accel.cache.curves import Curve

CacheName = Literal["fbcache", "teacache", "dbcache", "meancache", "easycache", "dicache"]


@dataclass(frozen=True, slots=True)
class CachePlan:
    """A step cache and when it may act.

    `threshold` is the strategy's own, higher for more reuse; at 0 nothing is ever reused. Reuse is allowed in the
    executed steps `start` ≤ step < `end`, and at most `max_run` times in a row. `profile` names what says how TeaCache
    rescales its distances, and `curve` is that itself, so that a receipt stays good when a profile is measured anew;
    without it, that of the profile of this name which comes with the code. `extrapolate` lets
    FBCache and DBCache move the first remainder they reuse along its last change.
    """

    strategy: CacheName
    threshold: float
    start: int
    end: int
    max_run: int
    profile: str | None = None
    curve: Curve | None = None
    extrapolate: bool = False
