from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

from pipelines.models.formats.components.vae import diffusers_name, open_vae
from pipelines.models.formats.containers.headers import FormatError
from tests.pipelines.models.formats.encoders import wan_name
from tests.pipelines.models.formats.layouts import save


@pytest.fixture(scope="module")
def names() -> list[str]:
    """The names of the VAE in its real sizes."""
    with torch.device("meta"):
        return list(AutoencoderKLQwenImage().state_dict())


def test_the_names_of_the_real_vae_are_found(names: list[str]) -> None:
    assert [diffusers_name(wan_name(name, 2), 2) for name in names] == names


def test_diffusers_maps_wan_alike(names: list[str]) -> None:
    theirs = convert_wan_vae_to_diffusers({wan_name(name, 2): wan_name(name, 2) for name in names})
    assert {wan: name for name, wan in theirs.items()} == {wan_name(name, 2): name for name in names}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("decoder.mid.block_1.norm1.weight",), "it is the VAE of another model, such as Stable Diffusion or FLUX"),
        (("decoder.mid_block.resnets.0.norm1.weight",), "it is the VAE of another model"),
        (("transformer_blocks.0.img_mod.1.weight",), "it is a transformer, not a VAE; name it as `transformer`"),
        (("model.layers.0.mlp.up_proj.weight",), "it is a text encoder, not a VAE"),
        (("transformer_blocks.0.attn.to_q.lora_A.weight",), "it is a LoRA, not a VAE"),
        (("one", "two"), "is no VAE of Qwen-Image: it has no decoder"),
    ],
)
def test_other_files(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    path = save({name: torch.zeros(1) for name in names}, tmp_path / "other.safetensors")
    with pytest.raises(FormatError, match=said):
        open_vae(path)


def test_the_vae_of_layered(tmp_path: Path) -> None:
    marks = {"decoder.middle.0.residual.0.gamma": torch.zeros(1), "encoder.conv1.weight": torch.zeros(8, 4, 3, 3, 3)}
    with pytest.raises(FormatError, match="Qwen-Image-Layered"):
        open_vae(save(marks, tmp_path / "vae.safetensors"))
