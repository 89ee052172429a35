"""Each layout of a VAE and of a text encoder computes what the folder computes, or what its numbers stand for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

from accel.weights.quantized.fp8 import Fp8Linear
from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.component_files import ComponentFiles
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.formats.components.text_encoder import NO_VISION
from pipelines.models.formats.place import Placement
from pipelines.models.loading.loader import in_a_layer, load, load_text_encoder, load_vae, precise_layers
from pipelines.models.plan import Precision, resident_plan
from tests.pipelines.models.formats.encoders import (
    comfy_name,
    fp8_scaled,
    save_language_gguf,
    save_mmproj,
    stands_for,
    wan_name,
)
from tests.pipelines.models.formats.layouts import State, save, with_prefix

CPU = torch.device("cpu")
FP8_ERROR = 0.2  # relative, of the hidden states; 0.06 was measured here


@pytest.fixture(scope="module")
def library(weights: Path) -> Qwen2_5_VLForConditionalGeneration:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(weights / "text_encoder", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def state(library: Qwen2_5_VLForConditionalGeneration) -> State:
    return {name: tensor.detach().clone() for name, tensor in library.state_dict().items()}


@torch.inference_mode()
def hidden(encoder: Qwen2_5_VLForConditionalGeneration) -> torch.Tensor:
    """The hidden states of a text."""
    ids = torch.arange(5, 25)[None]
    return encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state


@torch.inference_mode()
def seen(encoder: Qwen2_5_VLForConditionalGeneration) -> torch.Tensor:
    """What the vision tower makes of a picture of 4 × 6 patches."""
    pixels = torch.randn(24, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(1))
    return encoder.model.visual(pixels, grid_thw=torch.tensor([[1, 4, 6]])).pooler_output


def encoder(
    weights: Path, path: Path | None, precision: Precision = "fp32", *, with_vision: bool = True
) -> Qwen2_5_VLForConditionalGeneration:
    files = ComponentFiles(str(weights), text_encoder=None if path is None else str(path))
    placement = Placement(CPU, torch.float32, precision, in_a_layer)
    return load_text_encoder(files, placement, with_vision=with_vision).network


def holding(library: Qwen2_5_VLForConditionalGeneration, state: State) -> Qwen2_5_VLForConditionalGeneration:
    """The library's own network with another state."""
    network = Qwen2_5_VLForConditionalGeneration(library.config).eval()
    network.load_state_dict(state)
    return network


class TestTextEncoder:
    def test_the_folder_equals_the_library(self, weights: Path, library: Qwen2_5_VLForConditionalGeneration) -> None:
        ours = encoder(weights, None)
        assert torch.equal(hidden(ours), hidden(library))
        assert torch.equal(seen(ours), seen(library))
        assert not any("lm_head" in name for name in ours.state_dict())

    @pytest.mark.parametrize("prefix", ["", "text_encoders.qwen25_7b.transformer."])
    def test_a_single_file_of_comfyui_equals_the_folder(
        self, weights: Path, library: Qwen2_5_VLForConditionalGeneration, state: State, tmp_path: Path, prefix: str
    ) -> None:
        named = with_prefix({comfy_name(name): tensor for name, tensor in state.items()}, prefix)
        others = {"model.diffusion_model.img_in.weight": torch.zeros(1)} if prefix else {}
        ours = encoder(weights, save(named | others, tmp_path / "qwen.safetensors"))
        assert torch.equal(hidden(ours), hidden(library))
        assert torch.equal(seen(ours), seen(library))

    def test_scales_of_fp8_are_applied(
        self, weights: Path, library: Qwen2_5_VLForConditionalGeneration, state: State, tmp_path: Path
    ) -> None:
        made = fp8_scaled(state)
        ours = encoder(weights, save(made, tmp_path / "qwen_2.5_vl_7b_fp8_scaled.safetensors"))
        assert torch.equal(hidden(ours), hidden(holding(library, stands_for(made, state))))
        assert torch.equal(seen(ours), seen(library))
        error = (hidden(ours) - hidden(library)).norm() / hidden(library).norm()
        assert 0 < error < FP8_ERROR

    def test_fp8_is_kept_where_the_plan_says_fp8(self, weights: Path, state: State, tmp_path: Path) -> None:
        path = save(fp8_scaled(state), tmp_path / "fp8.safetensors")
        kept, dense = encoder(weights, path, "fp8"), encoder(weights, path)
        layers = {name: module for name, module in kept.named_modules() if isinstance(module, Fp8Linear)}
        assert len(layers) == 2 * 7
        for name, layer in layers.items():
            assert torch.equal(layer.dequantize(), dense.get_parameter(f"{name}.weight"))

    @pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
    @pytest.mark.parametrize("precision", ["fp32", "packed"])
    def test_a_gguf_with_its_mmproj(
        self,
        weights: Path,
        library: Qwen2_5_VLForConditionalGeneration,
        state: State,
        tmp_path: Path,
        kind: str,
        precision: Precision,
    ) -> None:
        stood = save_language_gguf(state, tmp_path / "Qwen2.5-VL-7B-Instruct-Q.gguf", kind)
        save_mmproj(state, tmp_path / "Qwen2.5-VL-7B-Instruct-mmproj-F32.gguf")
        ours = encoder(weights, tmp_path / "Qwen2.5-VL-7B-Instruct-Q.gguf", precision)
        assert torch.equal(hidden(ours), hidden(holding(library, stood)))
        assert torch.equal(seen(ours), seen(library))

    @pytest.mark.parametrize("precision", ["packed", "fp8"])
    def test_quantized_layers_wait_in_host_memory_as_they_are(
        self, weights: Path, state: State, tmp_path: Path, precision: Precision
    ) -> None:
        files = ComponentFiles(str(weights), text_encoder=str(tmp_path / "text.gguf"))
        save_language_gguf(state, tmp_path / "text.gguf", "Q8_0")
        save_mmproj(state, tmp_path / "mmproj.gguf")
        resident = encoder(weights, tmp_path / "text.gguf", precision)
        placement = Placement(CPU, torch.float32, precision, in_a_layer)
        loaded = load_text_encoder(files, placement, with_vision=True, waits=True)
        assert loaded.waiting is not None
        with loaded.waiting.running(pictures=True):
            assert torch.equal(hidden(loaded.network), hidden(resident))
            assert torch.equal(seen(loaded.network), seen(resident))

    def test_the_mmproj_may_lie_elsewhere(
        self, weights: Path, library: Qwen2_5_VLForConditionalGeneration, state: State, tmp_path: Path
    ) -> None:
        (tmp_path / "towers").mkdir()
        save_language_gguf(state, tmp_path / "language.gguf")
        named = save_mmproj(state, tmp_path / "towers" / "tower.gguf")
        files = ComponentFiles(
            str(weights), text_encoder=str(tmp_path / "language.gguf"), text_encoder_mmproj=str(named)
        )
        placement = Placement(CPU, torch.float32, "fp32", in_a_layer)
        ours = load_text_encoder(files, placement, with_vision=True).network
        assert torch.equal(seen(ours), seen(library))

    def test_a_gguf_alone_draws_from_text_and_does_not_edit(
        self, weights: Path, library: Qwen2_5_VLForConditionalGeneration, state: State, tmp_path: Path
    ) -> None:
        path = tmp_path / "alone.gguf"
        save_language_gguf(state, path)
        save_mmproj(state, tmp_path / "other-mmproj.gguf", projector="qwen3vl_merger")
        assert torch.equal(hidden(encoder(weights, path, with_vision=False)), hidden(library))
        with pytest.raises(LoadError) as caught:
            encoder(weights, path)
        assert str(caught.value) == f"Weights '{path}': text_encoder cannot be loaded: {NO_VISION}"

    def test_a_single_file_needs_a_configuration(self, state: State, tmp_path: Path) -> None:
        (tmp_path / "base").mkdir()
        path = save({comfy_name(name): tensor for name, tensor in state.items()}, tmp_path / "text.safetensors")
        with pytest.raises(LoadError, match=r"`weights` has no text_encoder/config\.json"):
            encoder(tmp_path / "base", path)


@pytest.mark.parametrize("prefix", ["", "vae.", "first_stage_model."])
def test_a_vae_with_the_names_of_wan_equals_the_folder(weights: Path, tmp_path: Path, prefix: str) -> None:
    original = load_file(weights / "vae" / "diffusion_pytorch_model.safetensors")
    named = with_prefix({wan_name(name): tensor for name, tensor in original.items()}, prefix)
    others = {"model.diffusion_model.img_in.weight": torch.zeros(1)} if prefix else {}
    path = save(named | others, tmp_path / "qwen_image_vae.safetensors")
    ours = load_vae(ComponentFiles(str(weights), vae=str(path)), CPU, torch.float32)
    library = SingleFrameVae(AutoencoderKLQwenImage.from_pretrained(weights, subfolder="vae")).eval()
    picture = torch.rand(1, 3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    latents = torch.rand(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(ours.encode(picture), library.encode(picture))
        assert torch.equal(ours.decode(latents), library.decode(latents))


def test_a_row_of_single_files_is_the_folder(
    weights: Path, checkpoint: Checkpoint, state: State, tmp_path: Path
) -> None:
    """All three components come from files; the rest from the folder."""
    vae = load_file(weights / "vae" / "diffusion_pytorch_model.safetensors")
    files = ComponentFiles(
        str(weights),
        transformer=str(save(checkpoint.transformer.state_dict(), tmp_path / "transformer.safetensors")),
        text_encoder=str(
            save({comfy_name(name): tensor for name, tensor in state.items()}, tmp_path / "text.safetensors")
        ),
        vae=str(save({wan_name(name): tensor for name, tensor in vae.items()}, tmp_path / "vae.safetensors")),
    )
    found = load(files, CPU, torch.float32, with_vision=True, plan=replace(resident_plan("fp32")))
    for component in ("transformer", "text_encoder", "vae"):
        ours, theirs = (getattr(each, component).state_dict() for each in (found, checkpoint))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert found.sees


def test_int8_leaves_the_ends_of_a_deep_text_encoder_precise() -> None:
    precise = precise_layers("int8", 28)
    quantized = [number for number in range(28) if not f"model.language_model.layers.{number}.mlp".startswith(precise)]
    assert quantized == list(range(6, 22))
    assert not "model.language_model.layers.1.mlp".startswith(precise_layers("int8", 2))
    assert not "model.language_model.layers.1.mlp".startswith(precise_layers("fp8", 28))
