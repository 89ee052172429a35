"""What was measured: one JSON line for each way of drawing one prompt, and the file that keeps them.

A result is known by what decides over it, its `Case`; a case that is in the file is not measured again. Plain data;
imports no torch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter, ValidationError

from accel.cache.plan import CachePlan
from accel.cache.report import Decision, reused_steps
from accel.validation_message import validation_message
from benchmarks.step_caches.variants import Kind, Knob

# Equal pictures have no finite PSNR; one grey level in one of a megapixel's values makes 113 dB.
PSNR_OF_EQUALS = 120.0


class ResultsError(ValueError):
    """The results cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where it was drawn: results of two places are never compared. `weights` is the fingerprint of the model's."""

    model: str
    weights: str | None
    device: str
    dtype: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Case:
    """What decides over a result. `executed` steps were run, to be held against `steps` of them without a cache.

    `references` are the SHA-256 of the pictures that were edited.
    """

    place: Place
    prompt: str
    references: tuple[str, ...]
    seed: int
    steps: int
    kind: Kind
    executed: int
    plan: CachePlan | None

    @property
    def key(self) -> str:
        """A short name that no other case has."""
        return hashlib.sha256(_CASE.dump_json(self)).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Run:
    """One picture: seconds of its denoising loop and of the whole request, that is, encoding and decoding included.

    `peak_mib` is the peak of the device's memory, weights included; None on a CPU, where nothing tells it.
    `host_reads` says how often the loop waited for a number from the device.
    """

    loop: float
    request: float
    peak_mib: int | None
    host_reads: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a picture is to its twin, and what was read in both, None where nothing was.

    `psnr` in dB, 120 for equal pictures; `ssim` up to 1; `flip`, the mean of its map, from 0 for equal ones to 1.
    """

    psnr: float
    ssim: float
    flip: float
    read: str | None = None
    twin_read: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One case: `runs`, each with its neighbour in `twins`, drawn without a cache with all steps just before it."""

    case: Case
    name: str
    family: str
    knobs: dict[str, Knob]
    on_wire: bool
    words: tuple[str, ...]
    runs: tuple[Run, ...]
    twins: tuple[Run, ...]
    likeness: Likeness
    decisions: tuple[Decision, ...]
    versions: dict[str, str]
    date: str

    @property
    def loop_speedup(self) -> float:
        """How many times as fast the denoising loop was, the median of the neighbours' ratios."""
        return median(twin.loop / run.loop for run, twin in zip(self.runs, self.twins, strict=True))

    @property
    def request_speedup(self) -> float:
        """The same of the whole request."""
        return median(twin.request / run.request for run, twin in zip(self.runs, self.twins, strict=True))

    @property
    def reused_steps(self) -> int:
        """How many steps had none of their forwards computed."""
        return reused_steps(self.decisions)


_CASE = TypeAdapter(Case)
_RESULT = TypeAdapter(Result)


class ResultsFile:
    """A JSON-lines file that grows by one result at a time. What a kill left half written is dropped."""

    def __init__(self, path: Path) -> None:
        """Raises `ResultsError` where the file cannot be read, `OSError` where there is a folder in its place."""
        self._path = path
        self._keys: set[str] = set()
        if path.exists():
            text = path.read_bytes()
            whole = text.rfind(b"\n") + 1
            if whole < len(text):
                path.write_bytes(text[:whole])
            self._keys = {result.case.key for result in read_results(path)}
        path.parent.mkdir(parents=True, exist_ok=True)

    def __contains__(self, case: Case) -> bool:
        return case.key in self._keys

    def append(self, result: Result) -> None:
        """Write one down, so that it is there after a kill."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(to_line(result) + "\n")
        self._keys.add(result.case.key)


def to_line(result: Result) -> str:
    """As one line of JSON."""
    return _RESULT.dump_json(result).decode("utf-8")


def read_results(path: Path) -> tuple[Result, ...]:
    """All results of a file. Raises `ResultsError`."""
    return tuple(_read(path))


def _read(path: Path) -> Iterator[Result]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield _RESULT.validate_json(line)
        except ValidationError as error:
            raise ResultsError(f"{path}, line {number}: {validation_message(error)}") from error
