"""Trace files: how much each signal of the step caches changed between steps, in renders that computed everything.

JSON lines: a header, then one image per line. A trace holds numbers only, so fits and predictions need no model. Knows
files; imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from accel.cache.profile import Recipe
from accel.cache.report import Branch
from accel.validation_message import validation_message

FORMAT = 1
# The number of earlier steps that a signal is compared with: the longest run of reuse that a request can ask for.
LAGS = 5


class TraceError(ValueError):
    """A trace file cannot be read. The message names the file, the line and the field."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One forward of a branch at `sigma`. Each change is mean|now − before| / mean|before| in float32.

    `input` is the change of the first block's modulated input since the step before. `residual` is that of what all
    blocks add, and `output` that of the hidden states after them. All three are None in the first step.

    `first` holds the changes of the first block's residual since 1 to `LAGS` steps before. `front` holds those of
    DBCache's front blocks, and is empty where the front is one block.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", serialize_by_alias=True)

    step: int
    evaluation: int
    branch: Branch
    sigma: float
    input: float | None
    residual: Annotated[float | None, Field(alias="remainder")]  # the key in files of format 1
    output: float | None
    first: tuple[float, ...]
    front: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """One image of `steps` executed steps and `width` × `height` pixels. Guidance is off at a scale of 1.

    `references` are the SHA-256 of the images that it edits.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prompt: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    observations: tuple[Observation, ...]
    references: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """The key that separates the images of one calibration."""
        return self.prompt, self.references, self.seed, self.steps, self.guidance

    @property
    def guided(self) -> bool:
        """Whether both branches of guidance were run."""
        return self.guidance > 1

    @property
    def area(self) -> int:
        """The area in pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Header:
    """The settings of all images of a file. `size` is the requested size in pixels."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    trace_format: int
    model: str
    recipe: Recipe
    dtype: str | None = None
    size: tuple[int, int] | None = None


_HEADER, _TRACE = TypeAdapter(Header), TypeAdapter(Trace)
Line = TypeVar("Line", Header, Trace)


class TraceFile:
    """A trace file that grows by one image at a time, so that a calibration survives a kill."""

    def __init__(self, path: Path, header: Header) -> None:
        """Takes up the images of an earlier run with the same header; others are dropped when the first is written."""
        self.path = path
        self._header = header
        self._traces = self._earlier()

    def __len__(self) -> int:
        return len(self._traces)

    def find(self, key: tuple[object, ...]) -> Trace | None:
        """The trace of an image by `Trace.key`."""
        return self._traces.get(key)

    def append(self, trace: Trace) -> None:
        """Write a trace at once. Raises `OSError`."""
        if not self._traces:
            write_traces(self.path, self._header, ())
        with self.path.open("ab") as file:
            file.write(_TRACE.dump_json(trace) + b"\n")
        self._traces[trace.key] = trace

    def _earlier(self) -> dict[tuple[object, ...], Trace]:
        """The traces of the file. A line that a kill cut off is cut from the file."""
        try:
            content = self.path.read_bytes()
            complete = content.rfind(b"\n") + 1
            if complete < len(content):
                self.path.write_bytes(content[:complete])
            header, traces = read_traces(self.path)
        except (OSError, TraceError):
            return {}
        return {trace.key: trace for trace in traces} if header == self._header else {}


def write_traces(path: Path, header: Header, traces: Sequence[Trace]) -> None:
    """Write a trace file. Raises `OSError`."""
    lines = [_HEADER.dump_json(header), *(_TRACE.dump_json(trace) for trace in traces)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")


def read_traces(path: Path) -> tuple[Header, tuple[Trace, ...]]:
    """Read a trace file. Raises `TraceError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from error
    lines = text.removesuffix("\n").split("\n")  # JSON escapes no other line separator
    if not text:
        raise TraceError(f"{path}: the file is empty")
    header = _parse(_HEADER, path, 1, lines[0])
    if header.trace_format != FORMAT:
        raise TraceError(f"{path}: trace_format: {header.trace_format}; only format {FORMAT} can be read")
    return header, tuple(_parse(_TRACE, path, number, line) for number, line in enumerate(lines[1:], start=2))


def _parse(kind: TypeAdapter[Line], path: Path, number: int, line: str) -> Line:
    try:
        return kind.validate_json(line)
    except ValidationError as error:
        raise TraceError(f"{path}: line {number}: {validation_message(error, whole='the line')}") from error
