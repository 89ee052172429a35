import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from pipelines.catalog.catalog import EMBEDDED
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.hub.download import fetch_folder
from pipelines.catalog.models_file import load_catalog
from pipelines.errors import LoadError
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loading.loader import beside_the_modulation, load
from pipelines.request import RenderRequest, Sampler
from tests.hub import folder_files, serve_hub, use_hub

CPU = torch.device("cpu")


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights, for spoiling."""
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def without(part: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / part)


def cut_short(part: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (file,) = (folder / part).glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:1000])

    return spoil


def with_config(part: str, **changes: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def with_tensor(part: str, name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (file,) = (folder / part).glob("*.safetensors")
        save_file(load_file(file) | {name: torch.ones(1)}, file, {"format": "pt"})

    return spoil


def with_more_text_layers(folder: Path) -> None:
    path = folder / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    path.write_text(json.dumps(config))


def test_models_are_for_inference(checkpoint: Checkpoint) -> None:
    for model in (checkpoint.transformer, checkpoint.vae, checkpoint.text_encoder):
        assert not model.training
        assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype(weights: Path, dtype: torch.dtype) -> None:
    loaded = load(str(weights), CPU, dtype, with_vision=True)
    for model in (loaded.transformer, loaded.vae, loaded.text_encoder):
        assert model.dtype == dtype
        assert {weight.dtype for weight in model.parameters()} == {dtype}
    assert loaded.dtype == dtype


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        *((without(part), f"{part} cannot be loaded") for part in ("transformer", "vae", "text_encoder")),
        *((without(part), f"{part} cannot be loaded") for part in ("tokenizer", "processor", "scheduler")),
        *((cut_short(part), f"{part} cannot be loaded") for part in ("transformer", "vae", "text_encoder")),
        (with_config("transformer", num_layers=3), "32 weights of QwenImageTransformer2DModel are missing"),
        (
            with_config("transformer", num_attention_heads=3),
            r"has the shape \[32, 256\], and \w+ needs \[48, 256\]",
        ),
        (
            with_config("vae", num_res_blocks=2),
            "vae cannot be loaded: 64 weights of AutoencoderKLQwenImage are missing",
        ),
        (with_more_text_layers, "weights of Qwen2_5_VLForConditionalGeneration are missing"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "vae cannot be loaded"),
        (shutil.rmtree, "there is no such folder"),
        (
            with_tensor("transformer", "addition.weight"),
            r"QwenImageTransformer2DModel has .*, such as addition\.weight$",
        ),
        (with_tensor("vae", "decoder.more"), r"AutoencoderKLQwenImage has no place .*, such as decoder\.more$"),
        (
            with_tensor("text_encoder", "model.layers.0.mlp.more.weight"),
            r"text_encoder cannot be loaded: Qwen2_5_VL\w+ has no place for 1 .*layers\.0\.mlp\.more\.weight$",
        ),
        (
            with_config("transformer", use_additional_t_cond=True),
            "weights of Qwen-Image-Layered, which is not supported",
        ),
        (with_config("transformer", use_layer3d_rope=True), "weights of Qwen-Image-Layered, which is not supported"),
        (with_config("transformer", guidance_embeds=True), "distilled guidance"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    with pytest.raises(LoadError, match=said) as caught:
        load(str(folder), CPU, torch.float32, with_vision=True)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_does_not_depend_on_the_format_of_the_file(trained: Checkpoint, tmp_path: Path) -> None:
    """The same bytes in ComfyUI's layout draw the same picture."""
    state = {
        f"model.diffusion_model.{name}": each.bfloat16() for name, each in trained.transformer.state_dict().items()
    }
    save_file(state, tmp_path / "bf16.safetensors")
    files = ComponentFiles(EMBEDDED, transformer=str(tmp_path / "bf16.safetensors"))
    entry = load_catalog().with_embedded_weights().entries[0]
    request = RenderRequest(entry.air, "a red circle", None, 64, 64, 2, Sampler(), 1.0, 1)
    drawn = [
        generate(request, 0, LoadedModel(checkpoint), entry, lambda *_: None).image.tobytes()
        for checkpoint in (trained, load(files, CPU, torch.float32, with_vision=True))
    ]
    assert drawn[0] == drawn[1]


def test_text_to_image_needs_no_processor(folder: Path) -> None:
    shutil.rmtree(folder / "processor")
    assert load(str(folder), CPU, torch.float32, with_vision=False).image_processor is None


@pytest.mark.parametrize(
    ("part", "name"),
    [("text_encoder", "model.rotary_emb.inv_freq"), ("text_encoder", "visual.rotary_pos_emb.inv_freq")],
)
def test_saved_buffers_that_the_model_calculates_are_no_surplus(folder: Path, part: str, name: str) -> None:
    with_tensor(part, name)(folder)
    load(str(folder), CPU, torch.float32, with_vision=True)


@pytest.mark.slow
def test_a_sharded_repository_is_downloaded_and_then_loads_without_the_hub(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("transformer", "text_encoder"):
        shutil.rmtree(folder / part)
        getattr(checkpoint, part).save_pretrained(folder / part, max_shard_size="100KB")
        assert len(list((folder / part).glob("*-of-*.safetensors"))) > 1
    with serve_hub({"owner/sharded": folder_files(folder)}) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "hub")
        load("owner/sharded", CPU, torch.float32, with_vision=True)
        hub.status, hub.requests = 503, []
        loaded = load("owner/sharded", CPU, torch.float32, with_vision=True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        load("owner/sharded", CPU, torch.float32, with_vision=True)
        assert hub.requests == []
    for (name, weight), other in zip(
        checkpoint.transformer.named_parameters(), loaded.transformer.parameters(), strict=True
    ):
        assert torch.equal(weight, other), name


def test_a_part_of_a_repository_is_refused_offline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_hub({"owner/model": folder_files(folder)}) as hub:
        use_hub(monkeypatch, hub.url, tmp_path / "hub")
        copy = fetch_folder("owner/model")
    (copy / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LoadError, match=r"owner/model is not wholly here, and HF_HUB_OFFLINE=1 forbids"):
        load("owner/model", CPU, torch.float32, with_vision=True)


def test_a_relative_path_that_is_not_there_is_no_hub_name() -> None:
    with pytest.raises(LoadError, match=r"^Weights '\./nowhere': there is no folder '\./nowhere', and it is no name"):
        load("./nowhere", CPU, torch.float32, with_vision=True)


def test_a_single_file_is_no_whole_model(tmp_path: Path) -> None:
    (tmp_path / "q4.gguf").write_bytes(b"weights")
    with pytest.raises(LoadError, match=r"single file, and no whole model; name .* the file as `transformer`"):
        load(str(tmp_path / "q4.gguf"), CPU, torch.float32, with_vision=True)


@pytest.mark.parametrize("weights", ["./nowhere", "~/nowhere", "/nowhere", "nowhere"])
def test_a_path_is_never_taken_for_a_name_of_the_hub(weights: str) -> None:
    with pytest.raises(LoadError, match=r"there is no (such )?folder"):
        load(weights, CPU, torch.float32, with_vision=True)


def test_layers_of_the_modulation_are_told_by_name() -> None:
    assert not beside_the_modulation("transformer_blocks.3.img_mod.1")
    assert beside_the_modulation("transformer_blocks.3.img_mlp.net.2")
