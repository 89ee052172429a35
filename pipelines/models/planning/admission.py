"""Refuses a request that cannot fit the card before it starts: by the plan, and by the peaks of the requests before.

Knows plans and workloads; knows no card's driver.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import SizeError
from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.cards import GIB
from pipelines.models.planning.workload import Workload

# A learned factor stays near the computed one: a peak may have had other causes.
_LEAST, _MOST = 0.75, 2.0


@dataclass(slots=True)
class LearntPeaks:
    """What the requests of a model have shown. It outlives the weights, which are dropped after running out twice.

    `factor` is the highest ratio of the measured working memory to the computed one. `failed` is the smallest computed
    working memory that ran out, in bytes. None is unknown.
    """

    factor: float | None = None
    failed: int | None = None


class Admission:
    """The requests that one loaded model can take on its card.

    The peak of a request is that of the plan, with the request's own working memory. The working memory is computed,
    and corrected by what was measured.
    """

    def __init__(self, plan: WeightsPlan, planned: Workload, memory: int, learnt: LearntPeaks | None = None) -> None:
        """`planned` is the workload of the plan. `memory` is that of the card in bytes, 0 for no limit.

        What requests show is added to `learnt`.
        """
        self._weights = plan.peak_bytes - planned.denoise_bytes
        self._memory = memory
        self._learnt = LearntPeaks() if learnt is None else learnt

    def expected_peak(self, work: Workload) -> int:
        """The bytes that a request will take of the card, with all weights."""
        return self._weights + int(work.denoise_bytes * (self._learnt.factor or 1.0))

    def check(self, work: Workload) -> None:
        """Raise `SizeError` for a request that does not fit, and for one larger than a request that ran out."""
        if not self._memory:
            return
        peak = self.expected_peak(work)
        if peak > self._memory:
            reason = f"takes about {peak / GIB:.1f} GiB of GPU memory, and {self._memory / GIB:.1f} GiB may be used"
        elif self._learnt.failed is not None and work.denoise_bytes > self._learnt.failed:
            reason = "takes more GPU memory than a request that has just run out of it"
        else:
            return
        options = f"--plan-size {work.width}x{work.height}"
        options += f" --plan-references {work.references}" if work.references else ""
        raise SizeError(
            f"{work} {reason}. Use a smaller size or fewer pictures, or start with {options}, which leaves more room.",
            "width",
        )

    def fits_together(self, works: Sequence[Workload]) -> bool:
        """Whether several requests fit the card that take turns: one has its forward, and all keep their state."""
        largest = max(works, key=lambda work: work.denoise_bytes)
        return self.fits_beside(largest, sum(work.kept_bytes for work in works) - largest.kept_bytes)

    def fits_beside(self, work: Workload, size: int) -> bool:
        """Whether `size` bytes more fit the card while a request is rendered."""
        return not self._memory or self.expected_peak(work) + size <= self._memory

    def record(self, work: Workload, working: int) -> None:
        """Learn from the working memory of a request that succeeded. The highest factor so far counts."""
        factor, learnt = min(_MOST, max(_LEAST, working / work.denoise_bytes)), self._learnt
        learnt.factor = factor if learnt.factor is None else max(factor, learnt.factor)
        if learnt.failed is not None and work.denoise_bytes >= learnt.failed:
            learnt.failed = None

    def record_failure(self, work: Workload) -> None:
        """Learn that a request ran out of memory. One of the same size may be tried again, a larger one may not."""
        self._learnt.failed = min(work.denoise_bytes, self._learnt.failed or work.denoise_bytes)
