"""What a request may ask of a step cache: plain data, fully resolved.

Knows no tensor and imports no torch, so that whoever builds requests can build it.
"""

from dataclasses import dataclass
from typing import Literal

CacheName = Literal["fbcache", "teacache", "dbcache", "meancache", "easycache", "dicache"]


@dataclass(frozen=True, slots=True)
class CachePlan:
    """A step cache and when it may act.

    `threshold` is the strategy's own, higher for more reuse; at 0 nothing is ever reused. Reuse is allowed in the
    executed steps `start` ≤ step < `end`, and at most `max_run` times in a row. `profile` names how TeaCache rescales
    its distances. `extrapolate` lets FBCache and DBCache move the first remainder they reuse along its last change.
    """

    strategy: CacheName
    threshold: float
    start: int
    end: int
    max_run: int
    profile: str | None = None
    extrapolate: bool = False
