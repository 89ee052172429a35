"""Which setting to use: the fastest measured one that keeps a demand on likeness. Pure; imports no torch."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.step_caches.summary import Group, Row, Spread


@dataclass(frozen=True, slots=True)
class Demand:
    """Least SSIM and PSNR and greatest FLIP, of the prompt that fares worst or, with `mean`, of all on average."""

    least_ssim: float | None = None
    least_psnr: float | None = None
    most_flip: float | None = None
    mean: bool = False

    def holds(self, row: Row) -> bool:
        """Whether a row keeps all that is demanded."""
        return all(
            bound is None or keeps(_part(spread, self.mean), bound)
            for spread, bound, keeps in (
                (row.ssim, self.least_ssim, operator.ge),
                (row.psnr, self.least_psnr, operator.ge),
                (row.flip, self.most_flip, operator.le),
            )
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """`setting` is the fastest cache that holds, None for none; `shorter` is the fastest by fewer steps alone.

    `beyond` is a faster strategy that the wire does not offer; `nearest` comes nearest to the demand where none holds.
    """

    setting: Row | None
    shorter: Row | None
    beyond: Row | None
    nearest: Row | None

    @property
    def shorter_wins(self) -> bool:
        """Whether fewer steps alone are at least as fast."""
        if self.shorter is None:
            return False
        return self.setting is None or self.shorter.loop_speedup.mean >= self.setting.loop_speedup.mean


def choose(group: Group, demand: Demand) -> Choice:
    """The best of a group's whole rows."""
    caches = [row for row in group.whole if row.kind == "cache" and row.flag is None]
    holding = [row for row in group.whole if demand.holds(row)]
    setting = _fastest(row for row in holding if row in caches and row.on_wire)
    beyond = _fastest(row for row in holding if row in caches and not row.on_wire)
    if beyond is not None and setting is not None and beyond.loop_speedup.mean <= setting.loop_speedup.mean:
        beyond = None
    return Choice(
        setting=setting,
        shorter=_fastest(row for row in holding if row.kind == "fewer_steps"),
        beyond=beyond,
        nearest=max(caches, key=lambda row: _part(row.ssim, demand.mean), default=None),
    )


def front(rows: Sequence[Row]) -> list[Row]:
    """The settings than which none is both faster and nearer to the twin, by mean speed-up and mean SSIM; fastest last.

    Fewer steps are a setting like any other here; a row that is flagged has nothing to offer.
    """
    able = [row for row in rows if row.kind in ("cache", "fewer_steps") and row.flag is None]
    return sorted((row for row in able if not any(_beats(other, row) for other in able)), key=_speed)


def _beats(one: Row, other: Row) -> bool:
    first, second = (_speed(one), one.ssim.mean), (_speed(other), other.ssim.mean)
    return first != second and all(a >= b for a, b in zip(first, second, strict=True))


def _fastest(rows: Iterable[Row]) -> Row | None:
    return max(rows, key=_speed, default=None)


def _speed(row: Row) -> float:
    return row.loop_speedup.mean


def _part(spread: Spread, mean: bool) -> float:
    return spread.mean if mean else spread.worst
