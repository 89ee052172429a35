"""Summarizes measurements: each variant over all prompts, as the mean and as the worst prompt.

Pure; imports no torch and no plotting library.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles
from typing import TypeVar

from benchmarks.step_caches.ocr import contains_words, normalize_text
from benchmarks.step_caches.results import Measurement, Setup
from benchmarks.step_caches.variants import Kind, OptionValue

_Summary = TypeVar("_Summary")

# A smaller speed-up counts as none, even on a quiet machine.
MIN_NOISE = 0.02
# Neighbouring settings are 5 to 10 % apart: beyond this noise, their order by speed is chance.
MAX_NOISE = 0.10


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean over the prompts and the value of the worst prompt."""

    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class WordCounts:
    """Counts over the prompts that ask for words.

    `right` images and `baseline_right` baselines contain the words. OCR reads something in `legible` baselines, and in
    `same` of them it reads exactly the same text in the image.
    """

    prompts: int
    right: int
    baseline_right: int
    legible: int
    same: int


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds: median and 95th percentile over prompts and repeats."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Row:
    """One variant over all its prompts. `flag` describes a contradiction between its figures, None without one.

    What was not measured of every prompt is None.
    """

    name: str
    kind: Kind
    family: str
    options: dict[str, OptionValue]
    on_wire: bool
    executed: int
    cases: int
    loop_speedup: Spread | None
    request_speedup: Spread
    reused_steps: float
    loop: Percentiles | None
    request: Percentiles
    psnr: Spread
    ssim: Spread
    flip: Spread | None
    words: WordCounts | None
    host_syncs: float | None
    peak_mib: int | None
    worst_prompt: str
    flag: str | None = None

    @property
    def speedup(self) -> Spread:
        """Speed-up of the loop, or of the whole request where only that was timed."""
        return self.request_speedup if self.loop_speedup is None else self.loop_speedup


@dataclass(frozen=True, slots=True)
class Group:
    """The measurements that may be compared: one setup, one number of steps, and the same timed.

    `noise` is the variation of equal runs, as a share of their time.
    """

    setup: Setup
    steps: int
    loop_timed: bool
    rows: tuple[Row, ...]
    measurements: tuple[Measurement, ...]
    noise: float

    @property
    def noisy(self) -> bool:
        """Whether the clock varied too much to order the rows by speed."""
        return self.noise > MAX_NOISE

    @property
    def clock(self) -> str:
        """How far the timings can be trusted, in a sentence."""
        if self.noisy:
            return self.noise_advice
        if self.row("uncached") is None:
            return "Equal runs were not compared, so nothing says how far the timings vary."
        return f"The timings vary by {100 * self.noise:.0f} %."

    @property
    def repeats(self) -> int:
        """How often each image was rendered at least."""
        return min(len(measurement.runs) for measurement in self.measurements)

    @property
    def noise_advice(self) -> str:
        """The advice about noisy timings."""
        more = f"--repeats {2 * self.repeats + 1}" if self.loop_timed else "more rounds"
        return (
            f"Equal runs differ by up to {100 * self.noise:.0f} % in time, and above {100 * MAX_NOISE:.0f} % the order "
            f"by speed is chance. Measure again with {more} while the machine is idle."
        )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts in the order of the file."""
        return tuple(dict.fromkeys(measurement.case.prompt for measurement in self.measurements))

    @property
    def cases(self) -> int:
        """The number of images of the most thoroughly measured variant."""
        return max(row.cases for row in self.rows)

    @property
    def complete(self) -> tuple[Row, ...]:
        """The rows that may be compared: those measured on every prompt."""
        return tuple(row for row in self.rows if row.cases == self.cases)

    def row(self, kind: Kind) -> Row | None:
        """The first row of a kind, such as a noise floor."""
        return next((row for row in self.rows if row.kind == kind), None)


def group_measurements(measurements: Iterable[Measurement]) -> list[Group]:
    """The groups in the order of the file. Of each model, only the weights that were measured last are kept."""
    newest: dict[tuple[object, ...], str | None] = {}
    found: dict[tuple[Setup, int, bool], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        setup = measurement.case.setup
        newest[_without_weights(setup)] = setup.weights
        found[setup, measurement.case.steps, measurement.loop_speedup is not None].append(measurement)
    return [
        _group(setup, steps, loop_timed, members)
        for (setup, steps, loop_timed), members in found.items()
        if newest[_without_weights(setup)] == setup.weights
    ]


def _without_weights(setup: Setup) -> tuple[object, ...]:
    return setup.model, setup.device, setup.dtype, setup.width, setup.height


def _group(setup: Setup, steps: int, loop_timed: bool, measurements: Sequence[Measurement]) -> Group:
    by_variant: dict[tuple[object, ...], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        case = measurement.case
        by_variant[measurement.name, case.kind, case.executed, case.plan].append(measurement)
    equal_runs = [measurement for measurement in measurements if measurement.case.kind == "uncached"]
    noise = max([MIN_NOISE, *(abs(measurement.speedup - 1) for measurement in equal_runs)])
    rows = tuple(_row(members, noise) for members in by_variant.values())
    return Group(setup, steps, loop_timed, rows, tuple(measurements), noise)


def _row(measurements: Sequence[Measurement], noise: float) -> Row:
    first = measurements[0]
    speedup = _spread([measurement.speedup for measurement in measurements])
    reused = fmean(measurement.reused_steps for measurement in measurements)
    worst = min(measurements, key=lambda measurement: measurement.similarity.ssim)
    runs = [run for measurement in measurements for run in measurement.runs]
    return Row(
        name=first.name,
        kind=first.case.kind,
        family=first.family,
        options=first.options,
        on_wire=first.on_wire,
        executed=first.case.executed,
        cases=len(measurements),
        loop_speedup=_known(_spread, [measurement.loop_speedup for measurement in measurements]),
        request_speedup=_spread([measurement.request_speedup for measurement in measurements]),
        reused_steps=reused,
        loop=_known(_percentiles, [run.loop for run in runs]),
        request=_percentiles([run.request for run in runs]),
        psnr=_spread([measurement.similarity.psnr for measurement in measurements]),
        ssim=_spread([measurement.similarity.ssim for measurement in measurements]),
        flip=_known(_spread_up, [measurement.similarity.flip for measurement in measurements]),
        words=_count_words(measurements),
        host_syncs=_known(fmean, [run.host_syncs for run in runs]),
        peak_mib=max((run.peak_mib for run in runs if run.peak_mib is not None), default=None),
        worst_prompt=worst.case.prompt,
        flag=_flag(first.case.kind, reused, speedup.mean, noise),
    )


def _known(summarize: Callable[[Sequence[float]], _Summary], values: Sequence[float | None]) -> _Summary | None:
    """A summary of values, None where one of them was not measured."""
    known = [value for value in values if value is not None]
    return summarize(known) if len(known) == len(values) else None


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), min(values))


def _spread_up(values: Sequence[float]) -> Spread:
    """A spread of values of which the greatest is the worst."""
    return Spread(fmean(values), max(values))


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [*seconds] * 19
    return Percentiles(cuts[9], cuts[18])


def _count_words(measurements: Sequence[Measurement]) -> WordCounts | None:
    read = [measurement for measurement in measurements if measurement.similarity.text is not None]
    if not read:
        return None
    texts = [(each.similarity.text or "", each.similarity.baseline_text or "", each.words) for each in read]
    legible = [(text, baseline) for text, baseline, _ in texts if normalize_text(baseline)]
    return WordCounts(
        prompts=len(texts),
        right=sum(contains_words(text, words) for text, _, words in texts),
        baseline_right=sum(contains_words(baseline, words) for _, baseline, words in texts),
        legible=len(legible),
        same=sum(normalize_text(text) == normalize_text(baseline) for text, baseline in legible),
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
