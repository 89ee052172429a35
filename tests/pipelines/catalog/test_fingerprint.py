import hashlib
import os
from pathlib import Path

import pytest

from pipelines.catalog import fingerprint
from pipelines.catalog.fingerprint import (
    file_digest,
    file_fingerprint,
    folder_fingerprint,
    part_fingerprint,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("vae/config.json", "{}"), ("vae/model.safetensors", "weights"), ("readme.md", "a")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_file(folder: Path) -> None:
    path = folder / "vae" / "model.safetensors"
    assert file_digest(path) == hashlib.sha256(b"weights").hexdigest()
    path.write_text("WEIGHTS")
    os.utime(path, ns=(1, 1))
    assert file_digest(path) == hashlib.sha256(b"WEIGHTS").hexdigest()


@pytest.mark.parametrize("name", ["vae/config.json", "vae/model.safetensors", "vae/other.json"])
def test_every_part_of_a_folder_counts(folder: Path, name: str) -> None:
    before = folder_fingerprint(folder)
    assert folder_fingerprint(folder) == before
    (folder / name).write_text("changed")
    assert folder_fingerprint(folder) != before


def test_what_is_about_the_folder_does_not(folder: Path) -> None:
    before = folder_fingerprint(folder)
    (folder / "readme.md").write_text("b")
    (folder / "scores.json").write_text("{}")
    assert folder_fingerprint(folder) == before


@pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
def test_one_model_lies_in_the_folder_itself(tmp_path: Path, name: str) -> None:
    for file in ("config.json", "diffusion_pytorch_model.safetensors"):
        (tmp_path / file).write_text("a")
    before = folder_fingerprint(tmp_path)
    (tmp_path / name).write_text("b")
    assert folder_fingerprint(tmp_path) != before


def test_a_folder_that_has_moved_is_the_same(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = folder_fingerprint(folder)
    assert folder_fingerprint(folder.rename(tmp_path_factory.mktemp("new") / "there")) == before


def test_of_large_files_the_ends_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "_WHOLE_UP_TO", 4)
    monkeypatch.setattr(fingerprint, "_END", 2)
    path, found = folder / "vae" / "model.safetensors", set()
    for text in ("weights", "weIghts", "Weights", "weightS", "weights."):
        path.write_text(text)
        found.add(folder_fingerprint(folder))
    assert len(found) == 4


def test_of_one_part_only_that_counts(folder: Path) -> None:
    before = part_fingerprint(folder, "vae")
    assert before is not None
    (folder / "other").mkdir()
    (folder / "other" / "model.safetensors").write_text("more")
    assert part_fingerprint(folder, "vae") == before
    (folder / "vae" / "model.safetensors").write_text("other")
    assert part_fingerprint(folder, "vae") != before
    assert part_fingerprint(folder, "none") is None


def test_of_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"one")
    before = file_fingerprint(path)
    assert file_fingerprint(path) == before
    path.write_bytes(b"two")
    assert file_fingerprint(path) != before
