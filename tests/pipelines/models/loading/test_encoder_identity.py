import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.catalog.component_files import ComponentFiles
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.encoder_identity import encoder_identity
from tests.pipelines.models.formats.components.test_text_encoder import LANGUAGE, VISION
from tests.pipelines.models.formats.encoders import save_language_gguf, save_mmproj


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def identity(checkpoint: Checkpoint, folder: Path, **own: str) -> str:
    found = encoder_identity(ComponentFiles(str(folder), **own), checkpoint, "fp32")
    assert found is not None
    return found


def test_a_copy_elsewhere_is_the_same_encoder(checkpoint: Checkpoint, weights: Path, folder: Path) -> None:
    assert identity(checkpoint, folder) == identity(checkpoint, weights)


@pytest.mark.parametrize("part", ["text_encoder", "tokenizer", "processor"])
def test_another_encoder_tokenizer_or_processor_is_another(checkpoint: Checkpoint, folder: Path, part: str) -> None:
    before = identity(checkpoint, folder)
    file = min((folder / part).glob("*.json"))
    file.write_text(file.read_text() + "\n")
    assert identity(checkpoint, folder) != before


@pytest.mark.parametrize("part", ["transformer", "vae", "scheduler"])
def test_the_other_parts_do_not_matter(checkpoint: Checkpoint, folder: Path, part: str) -> None:
    before = identity(checkpoint, folder)
    file = min((folder / part).glob("*.json"))
    file.write_text(file.read_text() + "\n")
    assert identity(checkpoint, folder) == before


def test_an_encoder_of_its_own_is_told_by_its_file(checkpoint: Checkpoint, folder: Path) -> None:
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    own = Path(shutil.copy(file, folder.parent / "encoder.safetensors"))
    one = identity(checkpoint, folder, text_encoder=str(own))
    assert one != identity(checkpoint, folder)
    own.write_bytes(own.read_bytes()[:-1] + b"\1")
    assert identity(checkpoint, folder, text_encoder=str(own)) != one


def test_the_vision_tower_of_a_gguf_file_counts(checkpoint: Checkpoint, folder: Path) -> None:
    path = folder.parent / "qwen.gguf"
    save_language_gguf(LANGUAGE, path)
    blind = identity(checkpoint, folder, text_encoder=str(path))
    save_mmproj(VISION, folder.parent / "mmproj.gguf")
    assert identity(checkpoint, folder, text_encoder=str(path)) != blind


def test_precision_dtype_and_device_matter(
    checkpoint: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ComponentFiles(str(folder))
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    others = [
        encoder_identity(files, checkpoint, "fp32"),
        encoder_identity(files, checkpoint, "fp8"),
        encoder_identity(files, replace(checkpoint, dtype=torch.bfloat16), "fp32"),
        encoder_identity(files, replace(checkpoint, device=torch.device("cuda:0")), "fp32"),
    ]
    assert len(set(others)) == len(others)


def test_files_that_are_not_here_have_no_identity(checkpoint: Checkpoint, folder: Path) -> None:
    assert encoder_identity(ComponentFiles("owner/nothing"), checkpoint, "fp32") is None
    gone = ComponentFiles(str(folder), text_encoder=str(folder / "gone.safetensors"))
    assert encoder_identity(gone, checkpoint, "fp32") is None
