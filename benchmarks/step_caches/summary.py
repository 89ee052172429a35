"""From results to rows: each setting over all prompts, as their mean and as the prompt that fares worst.

Pure; imports no torch and no plotting library.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from benchmarks.step_caches.ocr import holds, spelt
from benchmarks.step_caches.results import Place, Result
from benchmarks.step_caches.variants import Kind, Knob

# Below this, a speed-up is no news, however quiet the machine was.
LEAST_SPEEDUP = 0.02


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean over the prompts, and the prompt that fares worst."""

    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class Words:
    """Of the prompts that ask for words: in how many the picture has them, and in how many the twin has.

    `same` pictures of the `legible` ones, in whose twin something can be read, say just what the twin says.
    """

    prompts: int
    right: int
    twin_right: int
    legible: int
    same: int


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: median and 95th percentile over prompts and repeats."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Row:
    """One setting over all its prompts. `flag` says what does not fit together, if anything does not."""

    name: str
    kind: Kind
    family: str
    knobs: dict[str, Knob]
    on_wire: bool
    executed: int
    cases: int
    loop_speedup: Spread
    request_speedup: Spread
    reused_steps: float
    loop: Times
    request: Times
    psnr: Spread
    ssim: Spread
    flip: Spread
    words: Words | None
    host_reads: float
    peak_mib: int | None
    worst_prompt: str
    flag: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """All that may be compared: one place, one number of steps. `noise` is how far the clock strays, as a share."""

    place: Place
    steps: int
    rows: tuple[Row, ...]
    results: tuple[Result, ...]
    noise: float

    @property
    def prompts(self) -> tuple[str, ...]:
        """In the order they were drawn in."""
        return tuple(dict.fromkeys(result.case.prompt for result in self.results))

    @property
    def cases(self) -> int:
        """How many pictures the most thoroughly measured setting has."""
        return max(row.cases for row in self.rows)

    @property
    def whole(self) -> tuple[Row, ...]:
        """The rows that may be compared: those that have been through every prompt."""
        return tuple(row for row in self.rows if row.cases == self.cases)

    def row(self, kind: Kind) -> Row | None:
        """The row of a noise floor."""
        return next((row for row in self.rows if row.kind == kind), None)


def groups_of(results: Iterable[Result]) -> list[Group]:
    """What belongs together, in the order of the file. Of each model, only the weights that were drawn with last."""
    newest: dict[tuple[object, ...], str | None] = {}
    found: dict[tuple[Place, int], list[Result]] = defaultdict(list)
    for result in results:
        place = result.case.place
        newest[_same_but_weights(place)] = place.weights
        found[place, result.case.steps].append(result)
    return [
        _group(place, steps, members)
        for (place, steps), members in found.items()
        if newest[_same_but_weights(place)] == place.weights
    ]


def _same_but_weights(place: Place) -> tuple[object, ...]:
    return place.model, place.device, place.dtype, place.width, place.height


def _group(place: Place, steps: int, results: Sequence[Result]) -> Group:
    by_setting: dict[tuple[object, ...], list[Result]] = defaultdict(list)
    for result in results:
        by_setting[result.name, result.case.kind, result.case.executed, result.case.plan].append(result)
    same = [result for result in results if result.case.kind == "uncached"]
    noise = max([LEAST_SPEEDUP, *(abs(result.loop_speedup - 1) for result in same)])
    rows = tuple(_row(members, noise) for members in by_setting.values())
    return Group(place, steps, rows, tuple(results), noise)


def _row(results: Sequence[Result], noise: float) -> Row:
    first = results[0]
    speedup = _spread(results, lambda result: result.loop_speedup)
    reused = fmean(result.reused_steps for result in results)
    worst = min(results, key=lambda result: result.likeness.ssim)
    peaks = [run.peak_mib for result in results for run in result.runs if run.peak_mib is not None]
    return Row(
        name=first.name,
        kind=first.case.kind,
        family=first.family,
        knobs=first.knobs,
        on_wire=first.on_wire,
        executed=first.case.executed,
        cases=len(results),
        loop_speedup=speedup,
        request_speedup=_spread(results, lambda result: result.request_speedup),
        reused_steps=reused,
        loop=_times([run.loop for result in results for run in result.runs]),
        request=_times([run.request for result in results for run in result.runs]),
        psnr=_spread(results, lambda result: result.likeness.psnr),
        ssim=_spread(results, lambda result: result.likeness.ssim),
        flip=_spread(results, lambda result: result.likeness.flip, worst=max),
        words=_words(results),
        host_reads=fmean(run.host_reads for result in results for run in result.runs),
        peak_mib=max(peaks, default=None),
        worst_prompt=worst.case.prompt,
        flag=_flag(first.case.kind, reused, speedup.mean, noise),
    )


def _spread(
    results: Sequence[Result], value: Callable[[Result], float], worst: Callable[[list[float]], float] = min
) -> Spread:
    values = [value(result) for result in results]
    return Spread(fmean(values), worst(values))


def _times(seconds: list[float]) -> Times:
    cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    return Times(cuts[9], cuts[18])


def _words(results: Sequence[Result]) -> Words | None:
    read = [(result, result.likeness) for result in results if result.likeness.read is not None]
    if not read:
        return None
    legible = [likeness for _, likeness in read if spelt(likeness.twin_read or "")]
    return Words(
        prompts=len(read),
        right=sum(holds(likeness.read or "", result.words) for result, likeness in read),
        twin_right=sum(holds(likeness.twin_read or "", result.words) for result, likeness in read),
        legible=len(legible),
        same=sum(spelt(likeness.read or "") == spelt(likeness.twin_read or "") for likeness in legible),
    )


def _flag(kind: Kind, reused: float, speedup: float, noise: float) -> str | None:
    if kind != "cache":
        return None
    if not reused and speedup > 1 + noise:
        return "faster, though no step was reused"
    if not reused:
        return "reused no step"
    if speedup <= 1 + noise:
        return "reuses steps and is not faster"
    return None
