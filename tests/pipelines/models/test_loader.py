import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loader import load

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
        (with_config("transformer", num_attention_heads=3), "transformer cannot be loaded: Cannot load"),
        (with_config("vae", num_res_blocks=2), "vae cannot be loaded: Cannot load"),
        (with_more_text_layers, "weights of Qwen2_5_VLForConditionalGeneration are missing"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "vae cannot be loaded"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    with pytest.raises(LoadError, match=said) as caught:
        load(str(folder), CPU, torch.float32, with_vision=True)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_to_image_needs_no_processor(folder: Path) -> None:
    shutil.rmtree(folder / "processor")
    assert load(str(folder), CPU, torch.float32, with_vision=False).image_processor is None
