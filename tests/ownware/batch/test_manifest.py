"""What is on disk after each line, and what becomes of a file whose writer was killed."""

from pathlib import Path

import pytest

from ownware.batch.item import BatchError
from ownware.batch.manifest import NAME, Entry, Manifest


def entry(key: str, state: str = "done", **changes: object) -> Entry:
    return Entry(**{"key": key, "state": state, "where": key, "outputs": (f"{key}.png",), "seed": 1, **changes})


def test_the_latest_line_of_a_picture_counts(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.write(entry("a", "started"))
    manifest.write(entry("b", "failed", reason="no", notes=("one", "two")))
    manifest.write(entry("a", seconds=2.0))
    again = Manifest(tmp_path)
    assert again.entries == manifest.entries
    assert [each.state for each in again.entries.values()] == ["done", "failed"]
    assert len((tmp_path / NAME).read_text().splitlines()) == 3


def test_a_picture_is_done_while_its_files_are_there(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.write(entry("a"))
    assert not manifest.is_done("a", tmp_path)
    (tmp_path / "a.png").touch()
    assert manifest.is_done("a", tmp_path)
    assert not manifest.is_done("b", tmp_path)
    manifest.write(entry("a", "started"))
    assert not manifest.is_done("a", tmp_path)


@pytest.mark.parametrize("torn", [b'{"key": "b", "sta', b"\xc3", b'{"key": "b"}'])
def test_a_torn_line_is_left_out_and_then_removed(tmp_path: Path, torn: bytes) -> None:
    manifest = Manifest(tmp_path)
    manifest.write(entry("a"))
    with (tmp_path / NAME).open("ab") as file:
        file.write(torn)
    again = Manifest(tmp_path)
    assert list(again.entries) == ["a"]
    with again.lock():
        again.write(entry("c"))
    assert list(Manifest(tmp_path).entries) == ["a", "c"]


def test_a_line_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"key": 1}\n')
    with pytest.raises(BatchError, match=rf"{NAME}:1 is no line of a manifest"):
        Manifest(tmp_path)


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with (
        Manifest(tmp_path).lock(),
        pytest.raises(BatchError, match="another command is writing"),
        Manifest(tmp_path).lock(),
    ):
        pass
    with Manifest(tmp_path).lock():
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BatchError, match="file/out: Not a directory"),
        Manifest(tmp_path / "file" / "out").lock(),
    ):
        pytest.fail("there is no folder")


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(BatchError, match="cannot be read: Is a directory"):
        Manifest(tmp_path)


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = Manifest(None)
    with manifest.lock():
        manifest.write(entry("a"))
    assert list(manifest.entries) == ["a"]
    assert list(tmp_path.iterdir()) == []


def test_the_seconds_of_a_picture_are_those_of_the_finished_ones(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    assert manifest.seconds_per_picture() is None
    for key, state, seconds in (("a", "done", 1.0), ("b", "done", 3.0), ("c", "failed", 90.0)):
        manifest.write(entry(key, state, seconds=seconds))
    assert manifest.seconds_per_picture() == 2.0


def test_the_drafts_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.write(entry("a", "started", outputs=("sub/a[1].png",)))
    manifest.write(entry("b"))
    names = ("sub/.a[1].png.0f", "sub/a[1].png", ".b.png.0f", "sub/.other.png.0f")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    manifest.remove_drafts()
    assert [(tmp_path / name).exists() for name in names] == [False, True, True, True]
    Manifest(None).remove_drafts()
