import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.catalog.catalog import Mode, ModelEntry, load_catalog
from pipelines.errors import LoadError
from pipelines.models import loader as loading
from pipelines.models.loader import Checkpoint, ModelCache, default_dtype, load

CPU = torch.device("cpu")


def entry(mode: Mode, weights: str | Path = "embedded") -> ModelEntry:
    return replace(next(e for e in load_catalog().entries if e.mode == mode), weights=str(weights))


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


class TestLoad:
    def test_models_are_for_inference(self, checkpoint: Checkpoint) -> None:
        for model in (checkpoint.transformer, checkpoint.vae, checkpoint.text_encoder):
            assert not model.training
            assert not any(weight.requires_grad for weight in model.parameters())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_dtype(self, weights: Path, dtype: torch.dtype) -> None:
        loaded = load(str(weights), CPU, dtype, with_vision=True)
        for model in (loaded.transformer, loaded.vae, loaded.text_encoder):
            assert model.dtype == dtype
            assert {weight.dtype for weight in model.parameters()} == {dtype}
        assert loaded.dtype == dtype

    def test_default_dtype(self) -> None:
        assert default_dtype(CPU) == torch.float32
        assert default_dtype(torch.device("cuda:1")) == torch.bfloat16

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
    def test_what_is_wrong_is_said_in_one_line(self, folder: Path, spoil: Callable[[Path], object], said: str) -> None:
        spoil(folder)
        with pytest.raises(LoadError, match=said) as caught:
            load(str(folder), CPU, torch.float32, with_vision=True)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_text_to_image_needs_no_processor(self, folder: Path) -> None:
        shutil.rmtree(folder / "processor")
        assert load(str(folder), CPU, torch.float32, with_vision=False).image_processor is None


class TestCheckpoints:
    def test_models_of_the_same_weights_share_them(self) -> None:
        checkpoints = ModelCache("cpu")
        one, *others = (checkpoints.get(entry(mode)) for mode in ("text_to_image", "edit", "edit_plus"))
        assert all(other is one for other in others)

    def test_the_least_recently_used_goes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        loaded = []

        def note(weights: str, *_: object, **__: object) -> object:
            loaded.append(weights)
            return object()

        monkeypatch.setattr(loading, "load", note)
        checkpoints = ModelCache("cpu", capacity=2)
        for name in "abacab":
            checkpoints.get(entry("text_to_image", name))
        assert loaded == ["a", "b", "c", "b"]

    def test_room_is_made_before_the_next_is_loaded(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        events: list[str] = []
        monkeypatch.setattr(loading, "load", lambda weights, *_, **__: events.append(weights))
        monkeypatch.setattr(loading, "free_memory", lambda: events.append("freed"))
        checkpoints = ModelCache("cpu")
        for name in "ab":
            checkpoints.get(entry("text_to_image", name))
        assert events == ["a", "freed", "b"]

    def test_weights_without_a_processor_draw_but_do_not_edit(self, folder: Path, tmp_path: Path) -> None:
        shutil.rmtree(folder / "processor")
        checkpoints = ModelCache("cpu")
        drawing = checkpoints.get(entry("text_to_image", folder))
        with pytest.raises(LoadError, match="cannot edit"):
            checkpoints.get(entry("edit", folder))
        assert checkpoints.get(entry("text_to_image", folder)) is drawing

    def test_a_failure_can_be_repaired(self, folder: Path, tmp_path: Path) -> None:
        config = folder / "vae" / "config.json"
        good = config.read_text()
        config.write_text("{")
        checkpoints = ModelCache("cpu")
        with pytest.raises(LoadError):
            checkpoints.get(entry("edit", folder))
        config.write_text(good)
        assert checkpoints.get(entry("edit", folder)).image_processor is not None
