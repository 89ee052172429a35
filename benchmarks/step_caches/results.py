"""The measurements of the step-cache benchmark, and the JSON-lines file that keeps them.

A measurement is identified by its `Case`; a case in the file is not measured again. Plain data; imports no torch. Some
keys of the file are older than the names in the code: the aliases keep every committed file readable.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
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
    steps: int
    kind: Kind
    executed: int
    plan: CachePlan | None

    @property
    def key(self) -> str:
        """A short name that is unique to the case."""
        return hashlib.sha256(_CASE.dump_json(self, by_alias=True)).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Run:
    """The cost of one image, in seconds: its denoising loop, and the whole request with encoding and decoding.

    `peak_mib` is the device's peak memory with the weights; None on a CPU, which reports none. `host_syncs` counts how
    often the loop waited for a number from the device.
    """

    loop: float
    request: float
    peak_mib: int | None
    host_syncs: Annotated[int, Field(alias="host_reads")]


@dataclass(frozen=True, slots=True)
class Similarity:
    """The similarity of an image to its baseline, and the text that OCR read in both; None without OCR.

    `psnr` is in dB, 120 for equal images; `ssim` is at most 1; `flip` is the mean of its map, from 0 (equal) to 1.
    """

    psnr: float
    ssim: float
    flip: float
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
    runs: tuple[Run, ...]
    baselines: Annotated[tuple[Run, ...], Field(alias="twins")]
    similarity: Annotated[Similarity, Field(alias="likeness")]
    decisions: tuple[Decision, ...]
    versions: dict[str, str]
    date: str

    @property
    def loop_speedup(self) -> float:
        """Speed-up of the denoising loop: the median over the pairs of run and baseline."""
        return median(baseline.loop / run.loop for run, baseline in zip(self.runs, self.baselines, strict=True))

    @property
    def request_speedup(self) -> float:
        """Speed-up of the whole request: the median over the pairs of run and baseline."""
        return median(baseline.request / run.request for run, baseline in zip(self.runs, self.baselines, strict=True))

    @property
    def reused_steps(self) -> int:
        """The number of steps without any computed forward."""
        return reused_steps(self.decisions)


_CASE = TypeAdapter(Case)
_MEASUREMENT = TypeAdapter(Measurement)


class ResultsFile:
    """A JSON-lines file that grows by one measurement at a time. An incomplete last line is dropped."""

    def __init__(self, path: Path) -> None:
        """Raises `ResultsError` when the file cannot be read, `OSError` when a folder is in its place."""
        self._path = path
        self._keys: set[str] = set()
        if path.exists():
            content = path.read_bytes()
            complete = content.rfind(b"\n") + 1
            if complete < len(content):
                path.write_bytes(content[:complete])
            self._keys = {measurement.case.key for measurement in read_results(path)}
        path.parent.mkdir(parents=True, exist_ok=True)

    def __contains__(self, case: Case) -> bool:
        return case.key in self._keys

    def append(self, measurement: Measurement) -> None:
        """Write a measurement at once, so that it survives a kill."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(to_line(measurement) + "\n")
        self._keys.add(measurement.case.key)


def to_line(measurement: Measurement) -> str:
    """A measurement as one line of JSON."""
    return _MEASUREMENT.dump_json(measurement, by_alias=True).decode("utf-8")


def read_results(path: Path) -> tuple[Measurement, ...]:
    """All measurements of a file. Raises `ResultsError`."""
    return tuple(_read_lines(path))


def _read_lines(path: Path) -> Iterator[Measurement]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield _MEASUREMENT.validate_json(line)
        except ValidationError as error:
            raise ResultsError(f"{path}, line {number}: {validation_message(error)}") from error
