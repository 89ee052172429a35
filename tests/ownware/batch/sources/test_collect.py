from pathlib import Path
from typing import Any

from ownware.batch.sources.collect import collect_drawings, collect_edits
from tests.ownware.batch.fakes import write_pictures


def collect(tmp_path: Path, *sources: Path, **task: Any) -> tuple[Any, ...]:
    return collect_edits([str(source) for source in sources], (), task, tmp_path / "out")


def test_files_folders_and_tables_in_their_order(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", "a.png", "sub/b.png")
    (single,) = write_pictures(tmp_path, "z.png")
    rows = tmp_path / "rows.csv"
    rows.write_text("source,prompt,name\nin/a.png,make it blue,blue\n")
    items, notes = collect(tmp_path, single, tmp_path / "in", rows, positivePrompt="make it red")
    assert notes == ()
    assert [(item.stem, item.folder.as_posix()) for item in items] == [
        ("z", "."),
        ("a", "."),
        ("b", "sub"),
        ("blue", "."),
    ]
    assert [item.task["positivePrompt"] for item in items] == ["make it red"] * 3 + ["make it blue"]
    assert items[3].task["inputs"]["referenceImages"] == [str(tmp_path / "in" / "a.png")]
    assert items[3].where == "rows.csv:2 a.png"


def test_a_picture_that_is_named_twice_is_edited_once(tmp_path: Path) -> None:
    (path,) = write_pictures(tmp_path / "in", "a.png")
    items, notes = collect(tmp_path, tmp_path / "in", path, positivePrompt="p")
    assert (len(items), notes) == (1, (f"{path} is named twice, and edited once",))


def test_rows_that_are_no_edits(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("source,prompt,seed\n,p,1\na.png,,1\na.png,p,x\na.png,p,1\n")
    items, _ = collect(tmp_path, rows)
    problems = [item.problem for item in items]
    assert problems == [
        "the row names no source",
        "the row has no prompt",
        "seed: 'x' is no whole number",
        None,
    ]


def test_the_flags_are_the_default_of_the_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("source,steps\na.png,\nb.png,4\n")
    items, _ = collect(tmp_path, rows, positivePrompt="p", steps=8)
    assert [(item.task["positivePrompt"], item.task["steps"]) for item in items] == [("p", 8), ("p", 4)]


def test_the_rows_of_a_table_to_draw(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,seed,name\nA red circle,7,\nx,8,../first\n,9,\n")
    items, _ = collect_drawings(rows, {"steps": 4})
    assert [item.stem for item in items] == ["a-red-circle", "first", "picture"]
    assert items[0].task == {"positivePrompt": "A red circle", "seed": 7, "steps": 4}
    assert [item.problem for item in items] == [None, None, "the row has no prompt"]
