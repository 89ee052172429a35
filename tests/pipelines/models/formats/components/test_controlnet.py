from pathlib import Path

import pytest
import torch

from pipelines.models.formats.components.controlnet import check_controlnet, controlnet_kind
from pipelines.models.formats.containers.headers import FormatError
from tests.pipelines.models.formats.layouts import save


def test_kinds() -> None:
    assert controlnet_kind(["controlnet_blocks.0.y_rms.weight", "img_in.weight"]) == "blockwise"
    assert controlnet_kind(["controlnet_x_embedder.weight", "transformer_blocks.0.img_mod.1.weight"]) == "instantx"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("transformer_blocks.0.attn.to_q.lora_A.weight", "it is a LoRA, not a ControlNet"),
        ("transformer_blocks.0.img_mod.1.weight", "it is a transformer, not a ControlNet"),
        ("model.layers.0.mlp.up_proj.weight", "it is a text encoder, not a ControlNet"),
        ("decoder.conv1.weight", "it is a VAE, not a ControlNet"),
        ("control_blocks.0.after_proj.weight", "it is a ControlNet of Qwen-Image 2.1"),
        ("input_blocks.0.weight", "it is no ControlNet of Qwen-Image: it holds input_blocks.0.weight"),
    ],
)
def test_other_files(tmp_path: Path, name: str, said: str) -> None:
    path = save({name: torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(FormatError) as caught:
        check_controlnet(path)
    assert str(caught.value).startswith(said)


def test_no_names() -> None:
    with pytest.raises(FormatError, match="it holds nothing"):
        controlnet_kind([])
