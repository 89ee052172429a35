"""Whole renders whose branches of guidance run as one batch, against those whose branches run alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.weights.placement import HostShare, place_transformer
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import LoraUse, Reference
from tests.adapters import named, random_adapter, write
from tests.control import deeper
from tests.fakes import picture
from tests.pipelines.render.renders import asked, entry


def drawn(model: LoadedModel, mode: Any = "text_to_image", **changes: Any) -> torch.Tensor:
    state = prepare(asked(**changes), 0, model, entry(mode))
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def models(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> tuple[LoadedModel, LoadedModel]:
    """A model whose branches run alone, and the same one whose branches run as a batch."""
    alone = deeper(checkpoint, 3, zero_cond_t=request.param)
    return LoadedModel(alone), LoadedModel(replace(alone, batch_branches=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"true_cfg_scale": 1.0},
        {"negative_prompt": "a green square that is long"},
        {"cache": CachePlan("fbcache", 1e9, 1, 50, 1)},
        {"cache": CachePlan("dbcache", 0.3, 1, 50, 1)},
    ],
    ids=str,
)
def test_the_latents_are_the_same_up_to_rounding(
    models: tuple[LoadedModel, LoadedModel], changes: dict[str, Any]
) -> None:
    alone, batch = (drawn(model, **changes) for model in models)
    torch.testing.assert_close(batch, alone, atol=2e-4, rtol=2e-4)


def test_an_edit_and_a_lora(models: tuple[LoadedModel, LoadedModel], tmp_path: Path) -> None:
    path = tmp_path / "reference.png"
    path.write_bytes(picture(60, 40))
    write(tmp_path / "a.safetensors", named(random_adapter(models[0].checkpoint.transformer)))
    loras = (LoraUse("a", tmp_path / "a.safetensors", 1.0),)
    changes = {"references": (Reference(path, "", 60, 40),), "loras": loras}
    alone, batch = (drawn(model, "edit", **changes) for model in models)
    torch.testing.assert_close(batch, alone, atol=2e-4, rtol=2e-4)


def test_streamed_weights_are_read_once_for_both(checkpoint: Checkpoint) -> None:
    streamed = deeper(checkpoint, 2)
    expected = drawn(LoadedModel(streamed))
    placed = place_transformer(streamed.transformer, torch.device("cpu"), HostShare(2, tables=True))
    found = drawn(LoadedModel(replace(streamed, placed=placed, batch_branches=True)))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
