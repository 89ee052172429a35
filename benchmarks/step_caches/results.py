"""The measurements of the step-cache benchmark, and the JSON-lines file that keeps them.

A measurement is identified by its `Case`; runs of a case that are in the file are not repeated. Plain data; imports no
torch. Some keys of the file are older than the names in the code: the aliases keep every committed file readable.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from accel.cache.plan import CachePlan
from accel.cache.report import Decision, reused_steps
from accel.validation_message import validation_message
from benchmarks.step_caches.variants import Kind, OptionValue

# Equal images have no finite PSNR; one grey level in one of a megapixel's values makes 113 dB.
PSNR_OF_EQUALS = 120.0
_SECONDS = Field(gt=0, allow_inf_nan=False)


class ResultsError(ValueError):
    """The results cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Model, device and size of a measurement. Measurements of two setups are never compared.

    `weights` is the fingerprint of the model's weights.
    """

    model: str
    weights: str | None
    device: str
    dtype: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that determines a measurement. `executed` steps are compared with `steps` steps without a cache.

    `references` are the SHA-256 of the images that are edited.
    """

    setup: Annotated[Setup, Field(alias="place")]
    prompt: str
    references: tuple[str, ...]
    seed: int
    steps: Annotated[int, Field(ge=1)]
    kind: Kind
    executed: Annotated[int, Field(ge=1)]
    plan: CachePlan | None

    @property
    def key(self) -> str:
        """A short name that is unique to the case."""
        return hashlib.sha256(_CASE.dump_json(self, by_alias=True)).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Run:
    """The cost of one image, in seconds: its denoising loop, and the whole request with encoding and decoding.

    `peak_mib` is the device's peak memory with the weights; None on a CPU, which reports none. `host_syncs` counts how
    often the loop waited for a number from the device. A client of a server can time the whole request alone: for it,
    the others are None.
    """

    loop: Annotated[float | None, _SECONDS]
    request: Annotated[float, _SECONDS]
    peak_mib: int | None
    host_syncs: Annotated[int | None, Field(alias="host_reads", ge=0)]


@dataclass(frozen=True, slots=True)
class Similarity:
    """The similarity of an image to its baseline, and the text that OCR read in both; None without OCR.

    `psnr` is in dB, 120 for equal images; `ssim` is at most 1; `flip` is the mean of its map, from 0 (equal) to 1. It
    is None where it was not computed, as in a browser.
    """

    psnr: Annotated[float, Field(allow_inf_nan=False)]
    ssim: Annotated[float, Field(ge=-1, le=1)]
    flip: Annotated[float | None, Field(ge=0, le=1)]
    text: Annotated[str | None, Field(alias="read")] = None
    baseline_text: Annotated[str | None, Field(alias="twin_read")] = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured case: `runs`, and for each run its baseline, rendered without a cache just before it."""

    case: Case
    name: str
    family: str
    options: Annotated[dict[str, OptionValue], Field(alias="knobs")]
    on_wire: bool
    words: tuple[str, ...]
    runs: Annotated[tuple[Run, ...], Field(min_length=1)]
    baselines: Annotated[tuple[Run, ...], Field(alias="twins")]
    similarity: Annotated[Similarity, Field(alias="likeness")]
    decisions: tuple[Decision, ...]
    versions: dict[str, str]
    date: str

    def __post_init__(self) -> None:
        if len(self.runs) != len(self.baselines):
            raise ValueError("twins: each run needs one")
        if self.case.kind == "cache" and {each.step for each in self.decisions} != set(range(self.case.executed)):
            raise ValueError("decisions: each step of a cache needs one")

    @property
    def loop_speedup(self) -> float | None:
        """Speed-up of the denoising loop: the median over the pairs of run and baseline. None if it was not timed."""
        loops = [(run.loop, baseline.loop) for run, baseline in zip(self.runs, self.baselines, strict=True)]
        ratios = [baseline / run for run, baseline in loops if run is not None and baseline is not None]
        return median(ratios) if len(ratios) == len(loops) else None

    @property
    def request_speedup(self) -> float:
        """Speed-up of the whole request: the median over the pairs of run and baseline."""
        return median(baseline.request / run.request for run, baseline in zip(self.runs, self.baselines, strict=True))

    @property
    def speedup(self) -> float:
        """Speed-up of the loop, or of the whole request where only that was timed."""
        return self.request_speedup if self.loop_speedup is None else self.loop_speedup

    @property
    def reused_steps(self) -> int:
        """The number of steps without any computed forward."""
        return reused_steps(self.decisions)


_CASE = TypeAdapter(Case)
_MEASUREMENT = TypeAdapter(Measurement)
_FIRST_BYTES = b'{"case":'


class ResultsFile:
    """A JSON-lines file that grows by one measurement at a time. The last line of a case counts."""

    def __init__(self, path: Path) -> None:
        """Drops a line that a kill cut off. Raises `ResultsError` for a file that cannot be read, or is another one."""
        self._path = path
        self._found: dict[str, Measurement] = {}
        if path.exists():
            content = _read_bytes(path)
            complete = content.rfind(b"\n") + 1
            self._found = dict(_parse_lines(path, content[:complete]))
            if complete < len(content):
                if not self._found and not _FIRST_BYTES.startswith(content[: len(_FIRST_BYTES)]):
                    raise ResultsError(f"{path}: these are no results")
                path.write_bytes(content[:complete])
        path.parent.mkdir(parents=True, exist_ok=True)

    def repeats(self, case: Case) -> int:
        """How often the file's measurement of a case was rendered; 0 without one."""
        found = self._found.get(case.key)
        return 0 if found is None else len(found.runs)

    def append(self, measurement: Measurement) -> None:
        """Write a measurement at once, so that it survives a kill. It is joined with the earlier runs of its case."""
        if (earlier := self._found.get(measurement.case.key)) is not None:
            measurement = replace(
                measurement,
                runs=(*earlier.runs, *measurement.runs),
                baselines=(*earlier.baselines, *measurement.baselines),
            )
        with self._path.open("a", encoding="utf-8") as file:
            file.write(to_line(measurement) + "\n")
        self._found[measurement.case.key] = measurement


def to_line(measurement: Measurement) -> str:
    """A measurement as one line of JSON."""
    return _MEASUREMENT.dump_json(measurement, by_alias=True).decode("utf-8")


def read_results(path: Path) -> tuple[Measurement, ...]:
    """The measurements of a file, each case once. Raises `ResultsError`."""
    return tuple(dict(_parse_lines(path, _read_bytes(path))).values())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path}: {error}") from error


def _parse_lines(path: Path, content: bytes) -> Iterator[tuple[str, Measurement]]:
    """Key and measurement of each line. JSON escapes no line separator of Unicode, so only newlines end a line."""
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n") if content else (), 1):
        try:
            measurement = _MEASUREMENT.validate_json(line)
        except ValidationError as error:
            raise ResultsError(f"{path}, line {number}: {validation_message(error)}") from error
        yield measurement.case.key, measurement
