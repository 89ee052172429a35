"""What is on disk when a picture fails, the disk is full, or the user stops."""

import errno
from pathlib import Path
from typing import Any

import pytest

from ownware.batch.item import BatchError, ItemError
from ownware.batch.manifest import Manifest
from ownware.batch.plan import OutputOptions, Planned, plan_batch
from ownware.batch.runner import Outcome, Runner, WriteFile
from ownware.batch.stopping import StopRequest
from server.media.files import write_file
from tests.ownware.batch.fakes import FakeRenderer, Lines, write_pictures
from tests.ownware.batch.test_plan import items_of


class Bench:
    """A plan of three pictures, and what runs it."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.sources = write_pictures(folder / "in", "a.png", "b.png", "c.png")
        self.renderer = FakeRenderer()
        self.stop = StopRequest()
        self.lines = Lines()

    def plan(self, **task: Any) -> list[Planned]:
        items = [item for path in self.sources for item in items_of([path], positivePrompt=path.stem, **task)]
        return plan_batch(items, self.renderer, Manifest(self.out), OutputOptions(self.out))

    def run(self, write: WriteFile = write_file, **task: Any) -> Outcome:
        self.lines = Lines(3)
        manifest = Manifest(self.out)
        with manifest.lock():
            todo = [each for each in self.plan(**task) if not each.done]
            return Runner(self.renderer, manifest, self.out, self.lines, self.stop, write).run(todo)

    def states(self) -> dict[str, str]:
        return {Path(entry.where).stem: entry.state for entry in Manifest(self.out).entries.values()}

    def files(self) -> set[str]:
        return {path.name for path in self.out.iterdir() if path.suffix == ".png"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_all_pictures_in_order(bench: Bench) -> None:
    assert bench.run() == Outcome(3)
    assert [task["positivePrompt"] for task in bench.renderer.rendered] == ["a", "b", "c"]
    assert bench.files() == {"a.png", "b.png", "c.png"}
    assert set(bench.states().values()) == {"done"}
    assert bench.lines.steps == [(0, 2), (1, 2), (2, 2)] * 3
    assert bench.run() == Outcome(0)


def test_one_that_fails_stops_no_other_and_is_tried_again(bench: Bench) -> None:
    bench.renderer.fails["b"] = ItemError("the prompt is no text")
    outcome = bench.run()
    assert outcome == Outcome(2, (("b.png", "the prompt is no text"),))
    assert bench.states() == {"a": "done", "b": "failed", "c": "done"}
    assert "2 of 3: b.png failed: the prompt is no text" in bench.lines.lines
    bench.renderer.fails.clear()
    assert bench.run() == Outcome(1)
    assert bench.files() == {"a.png", "b.png", "c.png"}


def test_one_that_cannot_be_rendered_at_all(bench: Bench) -> None:
    bench.sources[1].write_bytes(b"")
    assert bench.run() == Outcome(2, (("b.png", "the file is empty"),))


def test_what_no_other_would_survive_ends_the_batch(bench: Bench) -> None:
    bench.renderer.fails["b"] = BatchError("the server is away")
    assert bench.run() == Outcome(1, (), 2, "the server is away")
    assert bench.states() == {"a": "done", "b": "started"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_batch_without_a_half_file(bench: Bench, number: int) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.stem == "b":
            raise OSError(number, "no space")
        write_file(path, data)

    outcome = bench.run(full)
    assert (outcome.done, outcome.left) == (1, 2)
    assert outcome.stopped is not None
    assert outcome.stopped.endswith("b.png cannot be written: no space")
    assert bench.files() == {"a.png"}
    assert bench.run() == Outcome(2)


def test_a_file_that_cannot_be_written_fails_alone(bench: Bench) -> None:
    (bench.out / "b.png").mkdir(parents=True)

    def refuse(path: Path, data: bytes) -> None:
        if path.stem.startswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        write_file(path, data)

    outcome = bench.run(refuse)
    assert (outcome.done, outcome.left) == (2, 0)
    assert "Permission denied" in outcome.failures[0][1]


def test_a_manifest_that_cannot_be_written_ends_the_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(manifest: Manifest, entry: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Manifest, "write", full)
    outcome = bench.run()
    assert outcome.stopped == f"the manifest of {bench.out} cannot be written: no space"


def test_a_task_with_several_results_is_done_or_not(bench: Bench) -> None:
    def second_fails(path: Path, data: bytes) -> None:
        if path.name == "b-8.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        write_file(path, data)

    outcome = bench.run(second_fails, numberResults=2, seed=7)
    assert len(outcome.failures) == 1
    assert bench.files() == {"a-7.png", "a-8.png", "c-7.png", "c-8.png"}
    assert bench.run(numberResults=2, seed=7) == Outcome(1)
    assert {"b-7.png", "b-8.png"} <= bench.files()


def test_the_user_stops_after_a_step(bench: Bench) -> None:
    def ask(task: dict[str, Any]) -> None:
        bench.stop.requested = task["positivePrompt"] == "b"

    bench.renderer.before = ask
    assert bench.run() == Outcome(1, (), 2, None, interrupted=True)
    assert bench.files() == {"a.png"}
    assert bench.lines.steps[3:] == []
    bench.stop.requested = False
    bench.renderer.before = lambda task: None
    assert bench.run() == Outcome(2)


def test_a_second_ctrl_c_ends_at_once(bench: Bench) -> None:
    def end(task: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    bench.renderer.before = end
    assert bench.run() == Outcome(0, (), 3, None, interrupted=True)


def test_a_source_that_vanishes_meanwhile_fails_alone(bench: Bench) -> None:
    def vanish(task: dict[str, Any]) -> None:
        bench.sources[1].unlink(missing_ok=True)

    bench.renderer.before = vanish
    outcome = bench.run()
    assert outcome.done == 2
    assert "cannot be encoded" in outcome.failures[0][1]
