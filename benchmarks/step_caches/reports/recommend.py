"""Recommends the fastest measured way to render that meets constraints on similarity: a cache, or fewer steps.

Pure; imports no torch.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.step_caches.reports.summary import Group, Row, Spread


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds on SSIM, PSNR and FLIP for the worst prompt, or with `mean` for the mean over the prompts.

    What was not measured meets no bound.
    """

    min_ssim: float | None = None
    min_psnr: float | None = None
    max_flip: float | None = None
    mean: bool = False

    def accept(self, row: Row) -> bool:
        """Whether a row meets every bound."""
        return all(
            bound is None or (spread is not None and meets(_value(spread, self.mean), bound))
            for spread, bound, meets in (
                (row.ssim, self.min_ssim, operator.ge),
                (row.psnr, self.min_psnr, operator.ge),
                (row.flip, self.max_flip, operator.le),
            )
        )


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The rows to tell the user about; each is None when there is none.

    `winner` is the fastest accepted row that a task can ask for: a cache of the wire, or fewer steps without a cache.
    Of rows that are equally fast within the noise, it is the most similar. `runner_up` is the best of the other kind.
    `off_wire` is a faster accepted strategy that the wire does not offer. `nearest` is the cache of highest SSIM.
    """

    winner: Row | None
    runner_up: Row | None
    off_wire: Row | None
    nearest: Row | None


def recommend(group: Group, constraints: Constraints) -> Recommendation:
    """The recommendation from a group's complete rows. Only a group that is not `noisy` gives a reliable one."""
    caches = [row for row in group.complete if row.kind == "cache" and row.flag is None]
    shorter = [row for row in group.complete if row.kind == "fewer_steps" and _speed(row) > 1 + group.noise]
    accepted = [row for row in (*caches, *shorter) if constraints.accept(row)]
    winner = _best([row for row in accepted if row.on_wire or row.kind == "fewer_steps"], group.noise, constraints.mean)
    off_wire = _best(
        [row for row in accepted if row.kind == "cache" and not row.on_wire], group.noise, constraints.mean
    )
    if off_wire is not None and winner is not None and not _faster(off_wire, winner, group.noise):
        off_wire = None
    others = [row for row in accepted if winner and row.kind != winner.kind and (row.on_wire or row.kind != "cache")]
    return Recommendation(
        winner=winner,
        runner_up=_best(others, group.noise, constraints.mean),
        off_wire=off_wire,
        nearest=max(caches, key=lambda row: _value(row.ssim, constraints.mean), default=None),
    )


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other row beats in both mean speed-up and mean SSIM, the fastest last.

    Fewer steps compete like caches; flagged rows do not compete.
    """
    candidates = [row for row in rows if row.kind in ("cache", "fewer_steps") and row.flag is None]
    return sorted((row for row in candidates if not any(_beats(other, row) for other in candidates)), key=_speed)


def _beats(one: Row, other: Row) -> bool:
    first, second = (_speed(one), one.ssim.mean), (_speed(other), other.ssim.mean)
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))


def _best(rows: Sequence[Row], noise: float, mean: bool) -> Row | None:
    """The most similar of the rows that are as fast as the fastest within the noise."""
    fastest = max(rows, key=_speed, default=None)
    equal = [row for row in rows if fastest is not None and not _faster(fastest, row, noise)]
    return max(equal, key=lambda row: (_value(row.ssim, mean), _speed(row)), default=None)


def _faster(one: Row, other: Row, noise: float) -> bool:
    return _speed(one) > _speed(other) * (1 + noise)


def _speed(row: Row) -> float:
    return row.speedup.mean


def _value(spread: Spread, mean: bool) -> float:
    return spread.mean if mean else spread.worst
