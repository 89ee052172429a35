import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from accel.weights.quantized.quantize import describe_linears
from pipelines.catalog.catalog import Mode, ModelEntry, load_catalog
from pipelines.conditioning import encode_prompt
from pipelines.errors import LoadError, SizeError
from pipelines.generate import generate
from pipelines.models import memory, model_cache
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loader import load
from pipelines.models.memory import storage_bytes
from pipelines.models.model_cache import ModelCache
from pipelines.models.options import ModelOptions, PromptFolder
from pipelines.models.planning.cards import GIB, make_card
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wish, Wishes
from tests.pipelines.models.formats.encoders import save_language_gguf
from tests.pipelines.test_render import asked


def entry(mode: Mode, weights: str | Path = "embedded") -> ModelEntry:
    return replace(next(e for e in load_catalog().entries if e.mode == mode), weights=str(weights))


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights, for spoiling."""
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def test_entries_of_the_same_weights_share_them(folder: Path) -> None:
    models = ModelCache("cpu")
    one, *others = (models.get(entry(mode, folder)) for mode in ("text_to_image", "edit", "edit_plus"))
    assert all(other is one for other in others)


def test_the_old_model_is_dropped_before_the_new_one_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(model_cache, "load", lambda files, *_, **__: events.append(files.weights))
    monkeypatch.setattr(memory, "free_memory", lambda: events.append("freed"))
    models = ModelCache("cpu")
    for name in "aabba":
        models.get(entry("text_to_image", name))
    assert events == ["a", "freed", "b", "freed", "a"]


def test_weights_without_a_processor_draw_but_do_not_edit(folder: Path) -> None:
    shutil.rmtree(folder / "processor")
    models = ModelCache("cpu")
    drawing = models.get(entry("text_to_image", folder))
    with pytest.raises(LoadError, match="cannot edit"):
        models.get(entry("edit", folder))
    assert models.get(entry("text_to_image", folder)) is drawing


def test_a_text_encoder_without_a_vision_tower_draws_but_does_not_edit(folder: Path, tmp_path: Path) -> None:
    checkpoint = load(str(folder), torch.device("cpu"), torch.float32, with_vision=False)
    state = dict(checkpoint.text_encoder.state_dict())
    save_language_gguf(state, tmp_path / "qwen.gguf")
    models = ModelCache("cpu")
    drawing, editing = (
        replace(entry(mode, folder), text_encoder=str(tmp_path / "qwen.gguf")) for mode in ("text_to_image", "edit")
    )
    assert not models.get(drawing).checkpoint.sees
    with pytest.raises(LoadError, match=r"qwen\.gguf.*put its mmproj file beside"):
        models.get(editing)


def test_models_of_equal_encoders_and_vaes_share_them(folder: Path, tmp_path: Path) -> None:
    """As Qwen-Image and Qwen-Image-Edit, whose repositories hold the same files."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = other / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"zero_cond_t": false', '"zero_cond_t": true'))
    models = ModelCache("cpu")
    one = models.get(entry("text_to_image", folder)).checkpoint
    two = models.get(entry("edit", other)).checkpoint
    assert one.transformer is not two.transformer
    assert (two.text_encoder, two.vae) == (one.text_encoder, one.vae)
    models.free_memory(models=True)
    assert models.get(entry("edit", other)).checkpoint.vae is not one.vae


def test_a_failure_can_be_repaired(folder: Path) -> None:
    config = folder / "vae" / "config.json"
    good = config.read_text()
    config.write_text("{")
    models = ModelCache("cpu")
    with pytest.raises(LoadError):
        models.get(entry("edit", folder))
    config.write_text(good)
    assert models.get(entry("edit", folder)).checkpoint.image_processor is not None


@torch.inference_mode()
def test_usage_tells_weights_from_what_was_made_with_them(folder: Path) -> None:
    models = ModelCache("cpu")
    assert set(models.usage().values()) == {0}
    model = models.get(entry("text_to_image", folder))
    embeds = encode_prompt("a red circle", None, model, entry("text_to_image")).embeds
    weights = sum(
        weight.nbytes
        for network in (model.checkpoint.transformer, model.checkpoint.vae, model.checkpoint.text_encoder)
        for weight in {id(weight): weight for weight in (*network.parameters(), *network.buffers())}.values()
    )
    assert models.usage() == {
        "checkpoint": weights,
        "controlnet": 0,
        "lora": 0,
        "embedding": embeds.nbytes,
        "modulation": 0,
    }
    assert storage_bytes(model) == weights  # a model's memory is told by kind, and not as part of its weights
    assert storage_bytes(LoadedModel(model.checkpoint)) == weights


@torch.inference_mode()
def test_a_prompt_is_known_after_a_restart(folder: Path, tmp_path: Path) -> None:
    options = ModelOptions(prompts=PromptFolder(tmp_path / "prompts", 10**6))
    row = entry("text_to_image", folder)
    made = encode_prompt("a red circle", None, ModelCache("cpu", options).get(row), row)
    again = ModelCache("cpu", options).get(row)
    without_encoder = replace(again, checkpoint=replace(again.checkpoint, text_encoder=cast("Any", None)))
    assert torch.equal(encode_prompt("a red circle", None, without_encoder, row).embeds, made.embeds)


def test_without_a_folder_no_prompt_is_kept(folder: Path) -> None:
    assert ModelCache("cpu").get(entry("text_to_image", folder)).prompts is None


@pytest.mark.parametrize("models", [False, True])
def test_memory_is_freed_with_or_without_the_weights(folder: Path, models: bool) -> None:
    cache = ModelCache("cpu")
    drawing = cache.get(entry("text_to_image", folder))
    encode_prompt("a", None, drawing, entry("text_to_image", folder))
    assert cache.usage()["embedding"]
    cache.free_memory(models=models)
    assert cache.usage()["embedding"] == 0
    assert bool(cache.usage()["checkpoint"]) != models
    assert (cache.get(entry("text_to_image", folder)) is drawing) != models


@pytest.mark.parametrize("precision", ["fp8", "int8", "nf4"])
def test_a_wished_precision_is_carried_out(precision: Wish) -> None:
    options = ModelOptions(PlanOptions(wishes=Wishes(precision)))
    model = ModelCache("cpu", options).get(entry("text_to_image"))
    forms = describe_linears(model.checkpoint.transformer.transformer_blocks).layers
    assert [form.split("/")[0] for form in forms] == [precision]
    assert model.precision == f"float32, transformer {precision}"


def test_without_a_wish_a_cpu_calculates_in_float32() -> None:
    model = ModelCache("cpu").get(entry("text_to_image"))
    assert dict(describe_linears(model.checkpoint.transformer).layers) == {"float32": 90}
    assert model.precision == "float32"


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "device_card", lambda device: make_card("small", 3 * GIB, (8, 6)))
    with pytest.raises(LoadError, match=r"Weights 'Qwen/Qwen-Image': .*3\.0 GiB"):
        ModelCache("cpu").get(entry("text_to_image", "Qwen/Qwen-Image"))


def test_a_request_that_does_not_fit_the_card_is_refused_before_it_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "device_card", lambda device: make_card("small", 4 * GIB, (8, 6)))
    row = entry("text_to_image", folder)
    model = ModelCache("cpu").get(row)
    assert model.plan is not None
    assert model.plan.tables
    steps: list[int] = []
    with pytest.raises(SizeError, match=r"2048×2048 takes about \d\.\d GiB of GPU memory, and 4\.0 GiB may be used"):
        generate(asked(width=2048, height=2048), 0, model, row, lambda step, _: steps.append(step))
    assert not steps
    generate(asked(width=64, height=64), 0, model, row, lambda step, _: steps.append(step))
    assert steps
