"""Names, seeds and what is done already, over several runs into one folder."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ownware.batch.item import Item
from ownware.batch.manifest import Entry, Manifest
from ownware.batch.plan import OutputOptions, Planned, plan_batch, to_do
from ownware.batch.tasks.merging import edit_task
from tests.ownware.batch.fakes import FakeRenderer, write_pictures

TASK = {"positivePrompt": "make it red"}


def items_of(paths: Sequence[Path], **task: object) -> list[Item]:
    return [Item(path.name, path.stem, edit_task({**TASK, **task}, path), path) for path in paths]


def plan(items: Sequence[Item], out: Path, **options: object) -> list[Planned]:
    return plan_batch(items, FakeRenderer(), Manifest(out), OutputOptions(**{"folder": out, **options}))


def finish(each: Planned, out: Path, state: str = "done") -> None:
    """Note a picture as a run does, with its files."""
    out.mkdir(exist_ok=True)
    if state == "done":
        for name in each.outputs:
            (out / name).touch()
    entry = Entry(each.key, state, each.item.where, each.outputs, each.seed)  # type: ignore[arg-type]
    Manifest(out).write(entry)


def test_names_formats_and_order_are_those_of_the_sources(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path / "in", "b.png", "a.jpg", "c.tif", "d.webp")
    planned = plan(items_of(paths), tmp_path / "out")
    assert [each.outputs for each in planned] == [("b.png",), ("a.jpg",), ("c.png",), ("d.webp",)]
    assert [each.encoding.format for each in planned] == ["PNG", "JPG", "PNG", "WEBP"]
    assert all(each.task["model"] == "fake:1@1" and each.task["seed"] == each.seed for each in planned)
    assert len({each.seed for each in planned}) == 4


def test_a_chosen_format_and_quality(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.jpg")
    (one,) = plan(items_of([path], outputFormat="webp", outputQuality=50), tmp_path / "out")
    assert (one.outputs, one.encoding.format, one.encoding.quality) == (("a.webp",), "WEBP", 50)
    (bad,) = plan(items_of([path], outputFormat="gif"), tmp_path / "out")
    assert bad.problem == "outputFormat: 'gif' is none of PNG, JPG and WEBP"


def test_two_sources_with_one_name_get_two_names(tmp_path: Path) -> None:
    paths = write_pictures(tmp_path, "one/a.png", "two/a.png", "three/a.tif")
    assert [each.outputs[0] for each in plan(items_of(paths), tmp_path / "out")] == ["a.png", "a-2.png", "a-3.png"]


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").touch()
    assert plan(items_of([path]), tmp_path / "out")[0].outputs == ("a-2.png",)
    assert plan(items_of([path]), tmp_path / "out", overwrite=True)[0].outputs == ("a.png",)


def test_several_results_have_their_seeds_in_their_names(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    (one,) = plan(items_of([path], numberResults=2, seed=7), tmp_path / "out")
    assert one.outputs == ("a-7.png", "a-8.png")


class TestASecondRun:
    def test_finished_pictures_are_left_out_and_keep_their_names(self, tmp_path: Path) -> None:
        paths = write_pictures(tmp_path, "x/a.png", "y/a.png", "z/a.png")
        out = tmp_path / "out"
        first = plan(items_of(paths), out)
        finish(first[1], out)
        second = plan(items_of(paths), out)
        assert [each.done for each in second] == [False, True, False]
        assert second[1].outputs == ("a-2.png",)
        assert second[0].outputs != second[2].outputs
        assert "a-2.png" not in (*second[0].outputs, *second[2].outputs)

    def test_a_picture_that_was_begun_keeps_its_name_and_seed(self, tmp_path: Path) -> None:
        (path,) = write_pictures(tmp_path, "a.png")
        out = tmp_path / "out"
        (first,) = plan(items_of([path]), out, pattern="{stem}-{seed}.{ext}")
        finish(first, out, "started")
        (out / first.outputs[0]).touch()  # killed before the line that says so
        (second,) = plan(items_of([path]), out, pattern="{stem}-{seed}.{ext}")
        assert (second.outputs, second.seed, second.done) == (first.outputs, first.seed, False)

    def test_a_missing_file_is_made_again(self, tmp_path: Path) -> None:
        (path,) = write_pictures(tmp_path, "a.png")
        out = tmp_path / "out"
        (first,) = plan(items_of([path]), out)
        finish(first, out)
        (out / "a.png").unlink()
        (second,) = plan(items_of([path]), out)
        assert (second.done, second.outputs) == (False, ("a.png",))

    @pytest.mark.parametrize("change", [{"positivePrompt": "make it blue"}, {"steps": 3}, {"outputQuality": 40}])
    def test_another_task_is_another_picture(self, tmp_path: Path, change: dict[str, object]) -> None:
        (path,) = write_pictures(tmp_path, "a.jpg")
        out = tmp_path / "out"
        (first,) = plan(items_of([path]), out)
        finish(first, out)
        (second,) = plan(items_of([path], **change), out)
        assert (second.done, second.outputs) == (False, ("a-2.jpg",))

    def test_a_source_with_other_contents_is_another_picture(self, tmp_path: Path) -> None:
        (path,) = write_pictures(tmp_path, "a.png")
        out = tmp_path / "out"
        (first,) = plan(items_of([path]), out)
        finish(first, out)
        path.write_bytes(write_pictures(tmp_path, "b.png", "c.png")[1].read_bytes())
        assert not plan(items_of([path]), out)[0].done

    def test_equal_rows_are_as_many_pictures(self, tmp_path: Path) -> None:
        (path,) = write_pictures(tmp_path, "a.png")
        out = tmp_path / "out"
        first = plan(items_of([path, path]), out)
        assert [each.outputs for each in first] == [("a.png",), ("a-2.png",)]
        finish(first[0], out)
        assert [each.done for each in plan(items_of([path, path]), out)] == [True, False]

    def test_what_is_to_do(self, tmp_path: Path) -> None:
        paths = write_pictures(tmp_path, "a.png", "b.png", "c.png")
        out = tmp_path / "out"
        first = plan(items_of(paths), out)
        finish(first[0], out)
        finish(first[1], out, "failed")
        second = plan(items_of(paths), out)
        assert [each.item.stem for each in to_do(second, failed_only=False)] == ["b", "c"]
        assert [each.item.stem for each in to_do(second, failed_only=True)] == ["b"]


def test_a_problem_is_planned_and_stops_no_other(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path, "a.png")
    (tmp_path / "empty.png").touch()
    items = [
        Item("row 1", "x", problem="the row names no source"),
        *items_of([tmp_path / "empty.png"]),
        *items_of([path], steps=0),
        *items_of([path]),
    ]
    problems = [each.problem for each in plan(items, tmp_path / "out")]
    assert problems == ["the row names no source", "the file is empty", "steps must not be 0", None]
