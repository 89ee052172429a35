"""Traces: how much everything that a step cache can watch changed from step to step, in renders that computed all.

A file of JSON lines: a header, then one image a line. What is recorded is numbers only, so that fits and replays need
no model. Knows files; imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from accel.cache.profile import Recipe
from accel.cache.report import Branch
from accel.validation_message import first_complaint

FORMAT = 1
# A change is recorded against each of so many steps before, the longest run of reuse that a request can ask for.
LAGS = 5


class TraceError(ValueError):
    """A file is no trace, or one that cannot be read; the message names it, the line and the field."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One forward of a branch at `sigma`. Each change is mean|now − before| / mean|before| in float32.

    Of the first block's modulated input, of what all blocks add (`remainder`) and of the stream behind them (`output`)
    since the step before: None where there is none. Of what the first block has added, and what DBCache's front blocks
    have, since 1 to `LAGS` steps before; `front` is empty where one block is that front.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    step: int
    evaluation: int
    branch: Branch
    sigma: float
    input: float | None
    remainder: float | None
    output: float | None
    first: tuple[float, ...]
    front: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """One image of `steps` executed steps, drawn at `width` × `height` pixels; guidance is off at a scale of 1."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prompt: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    observations: tuple[Observation, ...]

    @property
    def guided(self) -> bool:
        """Whether both branches of guidance were run."""
        return self.guidance > 1

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Header:
    """What all images of a file have in common."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trace_format: int
    model: str
    recipe: Recipe


_HEADER, _TRACE = TypeAdapter(Header), TypeAdapter(Trace)
Row = TypeVar("Row", Header, Trace)


def write_traces(path: Path, header: Header, traces: Sequence[Trace]) -> None:
    """Write a file of traces. Raises `OSError`."""
    lines = [_HEADER.dump_json(header), *(_TRACE.dump_json(trace) for trace in traces)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")


def read_traces(path: Path) -> tuple[Header, tuple[Trace, ...]]:
    """Read a file of traces. Raises `TraceError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from error
    if not lines:
        raise TraceError(f"{path}: the file is empty")
    header = _row(_HEADER, path, 1, lines[0])
    if header.trace_format != FORMAT:
        raise TraceError(f"{path}: trace_format: {header.trace_format}; only format {FORMAT} can be read")
    return header, tuple(_row(_TRACE, path, number, line) for number, line in enumerate(lines[1:], start=2))


def _row(kind: TypeAdapter[Row], path: Path, number: int, line: str) -> Row:
    try:
        return kind.validate_json(line)
    except ValidationError as error:
        complaint = first_complaint(error, whole="the line")
        raise TraceError(f"{path}: line {number}: {complaint}") from error
