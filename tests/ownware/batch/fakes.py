"""A renderer without a model, and pictures to edit."""

from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from ownware.batch.item import ItemError, WireTask
from ownware.batch.progress import Progress
from ownware.batch.renderers.base import OnStep, Rendered
from tests.fakes import picture

STEPS = 2


class FakeRenderer:
    """Draws flat pictures whose red is the seed. `fails` says why a task fails; `before` is called for each task."""

    def __init__(self, fails: dict[str, Exception] | None = None) -> None:
        self.fails = fails or {}
        self.rendered: list[WireTask] = []
        self.before: Callable[[WireTask], None] = lambda task: None
        self.closed = False

    def complete(self, task: WireTask) -> WireTask:
        return {"model": "fake:1@1", **task}

    def check(self, task: WireTask) -> None:
        if task.get("steps") == 0:
            raise ItemError("steps must not be 0")

    def seconds(self, task: WireTask) -> float | None:
        return 2.0

    def render(self, task: WireTask, on_step: OnStep) -> Iterator[Rendered]:
        self.before(task)
        self.rendered.append(task)
        if error := self.fails.get(task["positivePrompt"]):
            raise error
        for index in range(task.get("numberResults", 1)):
            for step in range(STEPS + 1):
                on_step(step, STEPS)
            seed = task["seed"] + index
            yield Rendered(Image.new("RGB", (32, 16), (seed % 256, 0, 0)), seed, None)

    def close(self) -> None:
        self.closed = True


class Lines(Progress):
    """A progress that keeps what it is told."""

    def __init__(self, total: int = 0) -> None:
        super().__init__(total)
        self.lines: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def step(self, step: int, steps: int) -> None:
        self.steps.append((step, steps))

    def _say(self, line: str) -> None:
        self.lines.append(line)


def write_pictures(folder: Path, *names: str) -> list[Path]:
    """Small pictures in the formats of their names, each of its own size."""
    paths = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "JPEG", ".tif": "TIFF"}.get(path.suffix, path.suffix[1:].upper())
        path.write_bytes(picture(40 + number, 30, kind))
        paths.append(path)
    return paths
