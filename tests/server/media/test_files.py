from pathlib import Path

import pytest

from server.media.files import delete_drafts, write_file


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b.png"
    write_file(path, b"one")
    write_file(path, b"two")
    assert path.read_bytes() == b"two"

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, b"three")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_unfinished_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b.png"
    write_file(path, b"one")

    def killed(descriptor: int) -> None:
        raise SystemExit

    monkeypatch.setattr("os.fsync", killed)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(SystemExit):
        write_file(path, b"two")
    monkeypatch.undo()
    assert len(list(path.parent.iterdir())) == 2
    delete_drafts(tmp_path)
    assert list(path.parent.iterdir()) == [path]
