from pathlib import Path

import pytest

from ownware.batch.item import BatchError
from ownware.batch.sources.folders import check_output_folder, find_pictures, is_table


def names(source: Path | str, *patterns: str, out: str = "/nowhere") -> list[str]:
    return [(found.folder / found.path.name).as_posix() for found in find_pictures(str(source), patterns, Path(out))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "img10.png",
        "img2.JPG",
        "notes.txt",
        ".hidden.png",
        ".git/a.png",
        "sub/deep/b.heic",
        "sub/a.tif",
        "out/img2.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_a_folder_with_its_folders_in_natural_order(folder: Path) -> None:
    found = names(folder, out=str(folder / "out"))
    assert found == ["img2.JPG", "img10.png", "sub/a.tif", "sub/deep/b.heic"]


def test_patterns(folder: Path) -> None:
    assert names(folder, "*.JPG", "sub/*.tif") == ["img2.JPG", "sub/a.tif"]
    assert names(folder, "*.txt") == ["notes.txt"]


def test_a_file_and_a_glob(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(folder / "sub" / "a.tif") == ["a.tif"]
    monkeypatch.chdir(folder)
    assert names("img*") == ["img2.JPG", "img10.png"]
    assert names("**/*.heic") == ["b.heic"]
    strange = folder / "a[1].png"
    strange.touch()
    assert names(strange) == ["a[1].png"]


@pytest.mark.parametrize(
    ("source", "patterns", "reason"),
    [
        ("empty", (), "has no picture ending in .avif, .bmp"),
        ("", ("*.nef",), r"has no picture named like \*.nef"),
        ("missing.png", (), "there is no such file or folder"),
        ("*.nef", (), "no file is named like"),
    ],
)
def test_nothing_is_there(folder: Path, source: str, patterns: tuple[str, ...], reason: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(BatchError, match=reason):
        names(folder / source, *patterns)


def test_a_table_by_its_name() -> None:
    assert [is_table(name) for name in ("a.csv", "A.JSONL", "a.tsv", "a.png")] == [True, True, True, False]


def test_results_do_not_go_where_the_sources_are(folder: Path) -> None:
    for source in (folder, folder / "img2.JPG", folder / "sub" / ".."):
        with pytest.raises(BatchError, match="is the folder of the source"):
            check_output_folder([str(source)], folder)
    with pytest.raises(BatchError, match="is no folder"):
        check_output_folder([str(folder)], folder / "img2.JPG")
    check_output_folder([str(folder), str(folder / "rows.csv")], folder / "out")
