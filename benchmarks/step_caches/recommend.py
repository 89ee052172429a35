"""Recommends the fastest measured setting that meets constraints on similarity. Pure; imports no torch."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.step_caches.summary import Group, Row, Spread


@dataclass(frozen=True, slots=True)
class Constraints:
    """Bounds on SSIM, PSNR and FLIP for the worst prompt, or with `mean` for the mean over the prompts."""

    min_ssim: float | None = None
    min_psnr: float | None = None
    max_flip: float | None = None
    mean: bool = False

    def accept(self, row: Row) -> bool:
        """Whether a row meets every bound."""
        return all(
            bound is None or meets(_value(spread, self.mean), bound)
            for spread, bound, meets in (
                (row.ssim, self.min_ssim, operator.ge),
                (row.psnr, self.min_psnr, operator.ge),
                (row.flip, self.max_flip, operator.le),
            )
        )


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The rows to tell the user about; each is None when there is none.

    `setting` is the fastest accepted cache of the wire. `fewer_steps` is the fastest accepted row without a cache.
    `off_wire` is a faster accepted strategy that the wire does not offer. `nearest` is the cache of highest SSIM.
    """

    setting: Row | None
    fewer_steps: Row | None
    off_wire: Row | None
    nearest: Row | None

    @property
    def fewer_steps_win(self) -> bool:
        """Whether fewer steps alone are at least as fast as the setting."""
        if self.fewer_steps is None:
            return False
        return self.setting is None or _speed(self.fewer_steps) >= _speed(self.setting)


def recommend(group: Group, constraints: Constraints) -> Recommendation:
    """The recommendation from a group's complete rows."""
    caches = [row for row in group.complete if row.kind == "cache" and row.flag is None]
    accepted = [row for row in group.complete if constraints.accept(row)]
    setting = _fastest(row for row in accepted if row in caches and row.on_wire)
    off_wire = _fastest(row for row in accepted if row in caches and not row.on_wire)
    if off_wire is not None and setting is not None and _speed(off_wire) <= _speed(setting):
        off_wire = None
    return Recommendation(
        setting=setting,
        fewer_steps=_fastest(row for row in accepted if row.kind == "fewer_steps"),
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


def _fastest(rows: Iterable[Row]) -> Row | None:
    return max(rows, key=_speed, default=None)


def _speed(row: Row) -> float:
    return row.loop_speedup.mean


def _value(spread: Spread, mean: bool) -> float:
    return spread.mean if mean else spread.worst
