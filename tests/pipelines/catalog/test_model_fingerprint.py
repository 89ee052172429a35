import shutil
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import folder_fingerprint
from pipelines.catalog.model_fingerprint import component_fingerprint, fingerprint, model_fingerprint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(
        shutil.copy(EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors")
    )


def test_weights_without_files_of_their_own_have_the_fingerprint_of_their_folder() -> None:
    expected = folder_fingerprint(EMBEDDED_FOLDER)
    assert fingerprint(EMBEDDED) == model_fingerprint(ComponentFiles(EMBEDDED)) == expected
    assert fingerprint("owner/that-is-not-here") is None


def test_a_file_of_its_own_counts_and_what_it_replaces_does_not(file: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "copy"))
    files = ComponentFiles(str(copy), vae=str(file))
    first = model_fingerprint(files)
    assert first is not None
    assert first != model_fingerprint(ComponentFiles(str(copy)))
    model_fingerprint.cache_clear()
    shutil.rmtree(copy / "vae")
    assert model_fingerprint(files) == first
    model_fingerprint.cache_clear()
    file.write_bytes(b"other")
    assert model_fingerprint(files) not in (None, first)


def test_what_is_not_here_has_none(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.gguf")
    assert component_fingerprint(missing) is None
    assert component_fingerprint("owner/repository/nowhere.gguf") is None
    assert model_fingerprint(ComponentFiles(EMBEDDED, missing)) is None


def test_a_folder_is_a_component_too() -> None:
    assert component_fingerprint(str(EMBEDDED_FOLDER / "vae")) == folder_fingerprint(EMBEDDED_FOLDER / "vae")
