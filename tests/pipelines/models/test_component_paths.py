import shutil
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.component_files import ComponentFiles
from pipelines.models.component_paths import component_path, mmproj_path
from pipelines.models.formats.containers.headers import FormatError
from tests.pipelines.models.formats.components.test_text_encoder import LANGUAGE, VISION
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj


def test_a_component_of_the_whole_model() -> None:
    assert component_path(ComponentFiles(EMBEDDED), "vae") == EMBEDDED_FOLDER / "vae"
    assert component_path(ComponentFiles("owner/not-here"), "vae") is None


def test_a_component_of_its_own_is_a_file_a_folder_or_a_part_of_a_whole_model(tmp_path: Path) -> None:
    file = shutil.copy(EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors", tmp_path / "vae.safetensors")
    folder = EMBEDDED_FOLDER / "vae"
    for own, found in ((file, Path(file)), (folder, folder), (EMBEDDED_FOLDER, folder)):
        assert component_path(ComponentFiles("owner/not-here", vae=str(own)), "vae") == found
    assert component_path(ComponentFiles(EMBEDDED, vae=str(tmp_path / "gone.safetensors")), "vae") is None


class TestMmproj:
    def test_the_one_beside_a_gguf_whatever_its_case(self, tmp_path: Path) -> None:
        encoder = tmp_path / "Q4.GGUF"
        save_language_gguf(LANGUAGE, encoder)
        files = ComponentFiles(EMBEDDED, text_encoder=str(encoder))
        assert mmproj_path(files) is None
        beside = save_mmproj(VISION, tmp_path / "Q4-MMPROJ-F16.gguf")
        assert mmproj_path(files) == beside

    def test_the_one_that_is_named(self, tmp_path: Path) -> None:
        named = save_mmproj(VISION, tmp_path / "tower.gguf")
        files = ComponentFiles(EMBEDDED, text_encoder="owner/name/q4.gguf", text_encoder_mmproj=str(named))
        assert mmproj_path(files) == named
        named.unlink()
        with pytest.raises(FormatError, match="there is no file"):
            mmproj_path(files)

    def test_other_text_encoders_have_none(self) -> None:
        assert mmproj_path(ComponentFiles(EMBEDDED)) is None
        assert mmproj_path(ComponentFiles(EMBEDDED, text_encoder=EMBEDDED)) is None
