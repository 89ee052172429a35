"""Runs a plan: renders each picture, writes its files whole, and notes it in the manifest.

One picture that fails stops no other. Knows no place that renders.
"""

import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ownware.batch.item import BatchError, Interrupted, ItemError
from ownware.batch.manifest import Entry, Manifest, State
from ownware.batch.plan import Planned
from ownware.batch.progress import Progress
from ownware.batch.renderers.base import Rendered, Renderer
from ownware.batch.results.result_file import Finish, result_file
from ownware.batch.stopping import StopRequest
from server.media.files import write_file

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
# Writes a file whole or not at all.
WriteFile = Callable[[Path, bytes], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has done. `stopped` is why it ended before its end, and `interrupted` says that the user asked."""

    done: int
    failures: tuple[tuple[str, str], ...] = ()
    left: int = 0
    stopped: str | None = None
    interrupted: bool = False


class Runner:
    """Renders the pictures of a plan into a folder."""

    def __init__(
        self,
        renderer: Renderer,
        manifest: Manifest,
        folder: Path,
        progress: Progress,
        stop: StopRequest,
        write: WriteFile = write_file,
    ) -> None:
        self._renderer = renderer
        self._manifest = manifest
        self._folder = folder
        self._progress = progress
        self._stop = stop
        self._write = write

    def run(self, planned: Sequence[Planned]) -> Outcome:
        """Make the pictures in order."""
        failures: list[tuple[str, str]] = []
        done, stopped, interrupted = 0, None, False
        try:
            for each in planned:
                self._stop.check()
                try:
                    self._note(each, "started")
                    self._make(each)
                    done += 1
                except ItemError as error:
                    failures.append((each.item.where, str(error)))
                    self._fail(each, str(error))
        except BatchError as error:
            stopped = str(error)
        except (Interrupted, KeyboardInterrupt):
            interrupted = True
        self._progress.close()
        return Outcome(done, tuple(failures), len(planned) - done - len(failures), stopped, interrupted)

    def _make(self, each: Planned) -> None:
        if each.problem is not None:
            raise ItemError(each.problem)
        began = time.monotonic()
        self._progress.start(each.item.where)
        finish = Finish(each.encoding, each.item.source, _mask(each), each.strip)
        notes: list[str] = list(each.notes)
        paths = [self._folder / name for name in each.outputs]
        rendered = self._renderer.render(each.task, self._on_step)
        written: list[Path] = []
        try:
            for path, picture in zip(paths, rendered, strict=True):
                notes += [note for note in self._write_result(path, picture, finish) if note not in notes]
                written.append(path)
        except ItemError:
            # A task is done or not, never in part. The names of an earlier run are its own.
            for path in written if each.before is None else paths:
                path.unlink(missing_ok=True)
            raise
        seconds = time.monotonic() - began
        self._note(each, "done", seconds=round(seconds, 3), notes=tuple(notes))
        self._progress.finish(each.item.where, paths, notes, seconds)

    def _write_result(self, path: Path, picture: Rendered, finish: Finish) -> tuple[str, ...]:
        """Write one result, and return the notes on it."""
        try:
            data, notes = result_file(picture, finish)
        except (OSError, SyntaxError, ValueError) as error:  # the source has changed since it was rendered
            raise ItemError(f"the result cannot be encoded: {error}") from error
        try:
            self._write(path, data)
        except OSError as error:
            raise _write_error(error, path) from error
        return notes

    def _on_step(self, step: int, steps: int) -> None:
        self._stop.check()
        self._progress.step(step, steps)

    def _fail(self, each: Planned, reason: str) -> None:
        self._note(each, "failed", reason=reason)
        self._progress.fail(each.item.where, reason)

    def _note(
        self,
        each: Planned,
        state: State,
        *,
        seconds: float = 0.0,
        notes: tuple[str, ...] = (),
        reason: str | None = None,
    ) -> None:
        item = each.item
        source = None if item.source is None else str(item.source)
        entry = Entry(each.key, state, item.where, each.outputs, each.seed, source, seconds, notes, reason)
        try:
            self._manifest.write(entry)
        except OSError as error:
            raise BatchError(f"the manifest of {self._folder} cannot be written: {error.strerror}") from error


def _mask(each: Planned) -> Path | None:
    inputs = each.task.get("inputs", {})
    text = inputs.get("maskImage")
    # A mask of another seed image says nothing about the source.
    own = each.item.source is not None and inputs.get("seedImage") == str(each.item.source)
    return Path(text) if own and isinstance(text, str) and Path(text).is_absolute() else None


def _write_error(error: OSError, path: Path) -> Exception:
    """What a file that cannot be written means for the batch. The next one fits a full disk no better."""
    message = f"{path} cannot be written: {error.strerror or error}"
    return (BatchError if error.errno in _NO_SPACE else ItemError)(message)
