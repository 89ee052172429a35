import shutil
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import folder_fingerprint
from pipelines.models.model_fingerprint import model_fingerprint, text_encoder_fingerprints
from tests.pipelines.models.formats.components.test_text_encoder import LANGUAGE, VISION
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(
        shutil.copy(EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors")
    )


def test_weights_without_files_of_their_own_have_the_fingerprint_of_their_folder() -> None:
    assert model_fingerprint(ComponentFiles(EMBEDDED)) == folder_fingerprint(EMBEDDED_FOLDER)


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
    assert model_fingerprint(ComponentFiles(EMBEDDED, str(tmp_path / "nowhere.gguf"))) is None


class TestVisionTower:
    @pytest.fixture
    def encoder(self, tmp_path: Path) -> str:
        save_language_gguf(LANGUAGE, tmp_path / "q4.gguf")
        return str(tmp_path / "q4.gguf")

    def test_it_counts_beside_the_encoder_and_elsewhere(self, encoder: str, tmp_path: Path) -> None:
        blind = ComponentFiles(EMBEDDED, text_encoder=encoder)
        found = {model_fingerprint(blind)}
        model_fingerprint.cache_clear()
        (tmp_path / "elsewhere").mkdir()
        named = save_mmproj(VISION, tmp_path / "elsewhere" / "tower.gguf")
        found.add(model_fingerprint(ComponentFiles(EMBEDDED, text_encoder=encoder, text_encoder_mmproj=str(named))))
        save_mmproj({name: 2 * each for name, each in VISION.items()}, tmp_path / "Q4-MMPROJ.gguf")
        found.add(model_fingerprint(blind))
        assert len(found) == 3
        assert None not in found

    def test_one_that_is_named_and_not_here_has_none(self, encoder: str) -> None:
        files = ComponentFiles(EMBEDDED, text_encoder=encoder, text_encoder_mmproj="/nowhere/mmproj.gguf")
        assert text_encoder_fingerprints(files) == (None,)
        assert model_fingerprint(files) is None
