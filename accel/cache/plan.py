"""The step cache of a request: plain data, fully resolved.

Knows no tensor and imports no torch, so that a process without torch can build one.
"""

from dataclasses import dataclass
from typing import Literal

from accel.cache.curves import Curve

CacheName = Literal["fbcache", "teacache", "dbcache", "meancache", "easycache", "dicache"]


@dataclass(frozen=True, slots=True)
class CachePlan:
    """A step cache, and the steps in which it may reuse.

    `threshold` is in the strategy's own unit. A higher one reuses more, and 0 reuses nothing. Reuse is allowed in the
    executed steps `start` ≤ step < `end`, at most `max_run` times in a row.

    `curve` rescales TeaCache's distances. `profile` is the name of the file it came from. The receipt stores the curve,
    so re-calibration does not change old images. Without a curve, the built-in profile of this name is used.

    `extrapolate` lets FBCache and DBCache extrapolate the first residual of a run.
    """

    strategy: CacheName
    threshold: float
    start: int
    end: int
    max_run: int
    profile: str | None = None
    curve: Curve | None = None
    extrapolate: bool = False
