from pathlib import Path

import pytest
import torch

from pipelines.models.formats.components.transformer import open_transformer
from pipelines.models.formats.containers.headers import FormatError
from tests.pipelines.models.formats.layouts import (
    State,
    comfy_quant,
    plain_fp8,
    save,
    save_gguf,
    scaled_fp8,
    state_of,
    tiny_transformer,
    with_prefix,
)

ONE = torch.ones(1)


@pytest.fixture(scope="module")
def state() -> State:
    return {name: tensor.to(torch.bfloat16) for name, tensor in state_of(tiny_transformer(num_layers=2)).items()}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_names_are_those_of_diffusers_whatever_the_prefix(tmp_path: Path, state: State, prefix: str) -> None:
    path = save(with_prefix(state, prefix), tmp_path / "a.safetensors")
    found = open_transformer(path, {"num_attention_heads": 2})
    assert set(found.weights) == set(state)
    assert found.config == {"num_attention_heads": 2, "num_layers": 2}


def test_an_all_in_one_file_holds_other_components_too(tmp_path: Path, state: State) -> None:
    others = dict.fromkeys(("vae.decoder.conv1.weight", "text_encoders.qwen25_7b.model.norm.weight"), ONE)
    all_in_one = with_prefix(state, "model.diffusion_model.") | others
    assert set(open_transformer(save(all_in_one, tmp_path / "a.safetensors")).weights) == set(state)
    unknown = save(all_in_one | {"unknown": ONE}, tmp_path / "b.safetensors")
    assert open_transformer(unknown).weights.keys() - state.keys() == {"unknown"}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_marker_of_2511_sets_zero_cond_t(tmp_path: Path, state: State, prefix: str) -> None:
    marked = with_prefix(state | {"__index_timestep_zero__": torch.tensor([])}, prefix)
    found = open_transformer(save(marked, tmp_path / "a.safetensors"), {"zero_cond_t": False})
    assert found.config["zero_cond_t"] is True
    assert set(found.weights) == set(state)


@pytest.mark.parametrize(
    ("name", "base", "expected"),
    [
        ("qwen-image-edit-2511-Q4_K_M.gguf", {}, True),
        ("qwen-image-edit-2509-Q4_K_M.gguf", {}, None),
        ("a.gguf", {"zero_cond_t": True}, True),
    ],
)
def test_gguf_has_no_marker_so_the_base_or_the_name_tells(
    tmp_path: Path, state: State, name: str, base: dict[str, object], expected: bool | None
) -> None:
    save_gguf(state, tmp_path / name, "Q8_0")
    assert open_transformer(tmp_path / name, base).config.get("zero_cond_t") is expected


def test_the_format_is_named(tmp_path: Path, state: State) -> None:
    layouts = {"BF16": state, "F8_E4M3": plain_fp8(state), "F8_E4M3 with scales": scaled_fp8(state)}
    for form, layout in layouts.items():
        assert open_transformer(save(layout, tmp_path / "a.safetensors")).format == f"safetensors {form}"
    save_gguf(state, tmp_path / "a.gguf", "Q5_0")
    assert open_transformer(tmp_path / "a.gguf").format == "GGUF Q5_0"


@pytest.mark.parametrize("architecture", ["pig", None])
def test_architectures_that_say_nothing_are_accepted(tmp_path: Path, state: State, architecture: str | None) -> None:
    save_gguf(state, tmp_path / "a.gguf", "Q8_0", architecture)
    assert set(open_transformer(tmp_path / "a.gguf").weights) == set(state)


@pytest.mark.parametrize("architecture", ["flux", "wan", "qwen2vl"])
def test_a_gguf_of_another_architecture(tmp_path: Path, state: State, architecture: str) -> None:
    save_gguf(state, tmp_path / "a.gguf", "Q8_0", architecture)
    with pytest.raises(FormatError, match=f"a GGUF of the architecture {architecture}; name a GGUF of qwen_image"):
        open_transformer(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["transformer_blocks.0.attn.to_qkv.qweight", "transformer_blocks.0.attn.to_qkv.wscales"],
            "nunchaku file.*use an fp8",
        ),
        (["transformer_blocks.0.attn.to_q.lora_down.weight"], r"is a LoRA, .*\[\[loras\]\]"),
        (["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"], "is a LoRA"),
        (["lora_unet_transformer_blocks_0_attn_to_q.lokr_w1"], "is a LoRA"),
        (
            ["controlnet_blocks.0.weight", "transformer_blocks.0.img_mod.1.weight"],
            r"is a ControlNet.*\[\[controlnets\]\]",
        ),
        (["time_text_embed.addition_t_embedding.weight"], "Qwen-Image-Layered, which is not supported; use"),
        (["time_text_embed.guidance_embedder.linear_1.weight"], "distilled guidance"),
        (["txt_in.text_norm.weight", "modulation.1.weight"], r"Qwen-Image 2\.x, another network.*use Qwen-Image-2512"),
        (["visual.blocks.0.attn.qkv.weight"], "text encoder, not a transformer; name it as `text_encoder`"),
        (["decoder.conv1.weight"], "is a VAE, not a transformer; name it as `vae`"),
        (["double_blocks.0.img_attn.qkv.weight"], "no transformer of Qwen-Image: .*, such as double_blocks"),
        ([], "among its 0 tensors$"),
    ],
)
def test_what_is_known_and_not_supported_says_what_to_use(tmp_path: Path, names: list[str], said: str) -> None:
    path = save(dict.fromkeys(names, ONE), tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match=said):
        open_transformer(path)


def test_nvfp4_is_named(tmp_path: Path, state: State) -> None:
    with pytest.raises(FormatError, match="quantized as nvfp4"):
        open_transformer(save(comfy_quant(state, "nvfp4"), tmp_path / "a.safetensors"))


def test_the_base_may_be_layered(tmp_path: Path, state: State) -> None:
    with pytest.raises(FormatError, match="Qwen-Image-Layered"):
        open_transformer(save(state, tmp_path / "a.safetensors"), {"use_layer3d_rope": True})
