"""Models whose text encoder waits in the host's memory, as the cache of models loads them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accel.weights.quantized.quantize import describe_linears
from pipelines.conditioning import encode_prompt
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.plan import ComponentPlan, Precision, WeightsPlan, resident_plan
from pipelines.models.residency import model_cache
from pipelines.models.residency.model_cache import ModelCache
from pipelines.models.residency.options import ModelOptions, PromptFolder
from tests.accel.weights.quantized.linears import relative_error
from tests.pipelines.render.renders import entry

EMBEDDED = replace(entry("text_to_image"), weights="embedded")


def waiting_plan(precision: Precision) -> WeightsPlan:
    """All resident but the text encoder."""
    encoder = ComponentPlan(precision, streamed_bytes=1)
    return replace(resident_plan("fp32"), text_encoder=encoder)


@torch.inference_mode()
def test_an_encoder_that_waits_is_read_for_the_first_new_prompt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Checkpoint
) -> None:
    monkeypatch.setattr(model_cache, "plan_entry", lambda *_: waiting_plan("fp32"))
    options, row = ModelOptions(prompts=PromptFolder(tmp_path / "prompts", 10**6)), EMBEDDED
    expected = encode_prompt("a red circle", None, LoadedModel(trained), row).embeds

    def has_read(model: LoadedModel) -> bool:
        return not any(weight.is_meta for weight in model.checkpoint.text_encoder.parameters())

    first, second = (ModelCache("cpu", options).get(row) for _ in range(2))
    assert not has_read(first)
    assert (first.engaged("a").encoder_layers, first.engaged("a").encoder_place) == ({"fp32": 21}, "host")
    assert torch.equal(encode_prompt("a red circle", None, first, row).embeds, expected)
    assert has_read(first)
    assert torch.equal(encode_prompt("a red circle", None, second, row).embeds, expected)
    assert not has_read(second)  # it finds the prompt on disk
    encode_prompt("another", None, second, row)
    assert has_read(second)


@torch.inference_mode()
def test_an_encoder_that_waits_can_be_quantized(monkeypatch: pytest.MonkeyPatch, trained: Checkpoint) -> None:
    monkeypatch.setattr(model_cache, "plan_entry", lambda *_: waiting_plan("int8"))
    row = EMBEDDED
    model = ModelCache("cpu").get(row)
    found = encode_prompt("a red circle", None, model, row).embeds
    exact = encode_prompt("a red circle", None, LoadedModel(trained), row).embeds
    assert "int8/int_mm" in describe_linears(model.checkpoint.text_encoder).layers
    assert 0 < relative_error(found, exact) < 0.05


def test_the_files_of_an_encoder_that_waits_are_checked_at_once(
    monkeypatch: pytest.MonkeyPatch, weights: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(model_cache, "plan_entry", lambda *_: waiting_plan("fp32"))
    folder = shutil.copytree(weights, tmp_path / "copy")
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(LoadError, match="text_encoder cannot be loaded"):
        ModelCache("cpu").get(replace(EMBEDDED, weights=str(folder)))
