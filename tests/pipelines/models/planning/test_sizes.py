import json
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.models.plan import Precision
from pipelines.models.planning.sizes import QWEN_IMAGE, encoder_sizes, folder_sizes, precise_ends, transformer_sizes


def total(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_qwen_image_has_twenty_billion_parameters_in_its_transformer() -> None:
    sizes = QWEN_IMAGE.transformer
    assert sizes.blocks * (sizes.block + sizes.modulation) + sizes.rest == pytest.approx(20.43e9, rel=1e-3)
    assert sizes.blocks * sizes.modulation == pytest.approx(6.80e9, rel=1e-3)


def test_its_text_encoder_has_almost_eight_without_the_output_layer() -> None:
    sizes = QWEN_IMAGE.text_encoder
    assert sizes.layers * sizes.layer + sizes.embeddings + sizes.vision == pytest.approx(8.29e9 - 0.545e9, rel=1e-3)


def test_a_transformer_is_counted_as_the_library_builds_it() -> None:
    config = json.loads((EMBEDDED_FOLDER / "transformer" / "config.json").read_text())
    with torch.device("meta"):
        model = QwenImageTransformer2DModel(**{key: value for key, value in config.items() if key[0] != "_"})
    sizes = transformer_sizes(config)
    assert sizes.blocks == len(model.transformer_blocks)
    assert sizes.blocks * (sizes.block + sizes.modulation) + sizes.rest == pytest.approx(total(model), rel=2e-3)


def test_a_text_encoder_is_counted_as_the_library_builds_it() -> None:
    config = json.loads((EMBEDDED_FOLDER / "text_encoder" / "config.json").read_text())
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**config)).model
    sizes = encoder_sizes(config)
    counted = sizes.layers * sizes.layer + sizes.embeddings + sizes.vision
    assert counted == pytest.approx(total(model), rel=0.02)


def test_a_folder_tells_its_sizes() -> None:
    sizes = folder_sizes(EMBEDDED_FOLDER)
    assert (sizes.transformer.blocks, sizes.transformer.width, sizes.text_encoder.layers) == (6, 128, 2)
    assert sizes.vae_bytes == (EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors").stat().st_size


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_without_a_configuration_counts_as_qwen_image(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "transformer").mkdir()
    if content is not None:
        (tmp_path / "transformer" / "config.json").write_text(content)
    assert folder_sizes(tmp_path) == QWEN_IMAGE


@pytest.mark.parametrize(("precision", "layers", "ends"), [("int8", 28, 6), ("int8", 2, 0), ("nf4", 28, 0)])
def test_int8_leaves_the_ends_of_a_deep_text_encoder_precise(precision: Precision, layers: int, ends: int) -> None:
    assert precise_ends(precision, layers) == ends
