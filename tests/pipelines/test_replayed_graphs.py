"""Whole renders whose blocks are replayed from graphs, with a capture that repeats the blocks on a CPU."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.kernels.block_graphs import BlockGraphs
from accel.weights.placement import HostShare, place_transformer
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import ControlUse, LoraUse, Reference
from tests.accel.kernels.fake_capture import FakeCapture
from tests.adapters import named, random_adapter, write
from tests.control import deeper, save_controlnet
from tests.fakes import picture
from tests.pipelines.render.renders import asked, entry

FBCACHE = CachePlan("fbcache", 1e9, 1, 50, 1)


@pytest.fixture
def capture() -> FakeCapture:
    return FakeCapture()


@pytest.fixture(scope="module")
def plain(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(deeper(checkpoint, 3))


@pytest.fixture
def model(plain: LoadedModel, capture: FakeCapture) -> LoadedModel:
    return replace(plain, checkpoint=replace(plain.checkpoint, graphs=BlockGraphs(capture)))


def drawn(model: LoadedModel, **changes: Any) -> torch.Tensor:
    state = prepare(asked(steps=4, **changes), 0, model, entry("text_to_image"))
    while state.step < state.total:
        advance([state])
    return state.latents


def test_a_render_has_the_same_bits_and_later_ones_share_its_graphs(
    plain: LoadedModel, model: LoadedModel, capture: FakeCapture
) -> None:
    expected = drawn(plain)
    assert torch.equal(drawn(model), expected)
    assert len(capture.captured) == 2  # a branch each: their prompts differ in length
    replays = capture.replays
    assert torch.equal(drawn(model), expected)
    assert torch.equal(drawn(model, prompt="a red square"), drawn(plain, prompt="a red square"))
    assert capture.replays == replays + 2 * 4 * 2
    assert len(capture.captured) == 2


def test_another_size_has_graphs_of_its_own(plain: LoadedModel, model: LoadedModel, capture: FakeCapture) -> None:
    for width in (64, 80):
        assert torch.equal(drawn(model, width=width), drawn(plain, width=width))
    assert len(capture.captured) == 4


def test_the_ranges_of_a_step_cache_are_captured_each(
    plain: LoadedModel, model: LoadedModel, capture: FakeCapture
) -> None:
    assert torch.equal(drawn(model, cache=FBCACHE), drawn(plain, cache=FBCACHE))
    assert len(capture.captured) == 4  # of both branches: the first block, and those after it


def test_a_lora_never_runs_in_the_graph_of_another(
    plain: LoadedModel, model: LoadedModel, capture: FakeCapture, tmp_path: Path
) -> None:
    uses = {}
    for seed in (1, 2):
        path = tmp_path / f"{seed}.safetensors"
        write(path, named(random_adapter(plain.checkpoint.transformer, seed)))
        uses[seed] = path
    sets = [(), *(((LoraUse("a", uses[seed], weight),)) for seed, weight in ((1, 1.0), (1, 0.5), (2, 1.0)))]
    expected = [drawn(plain, loras=loras) for loras in sets]
    for loras, latents in 2 * list(zip(sets, expected, strict=True)):
        assert torch.equal(drawn(model, loras=loras), latents)
    assert len(capture.captured) == 2 * len(sets)


def test_weights_that_have_moved_are_captured_anew(checkpoint: Checkpoint, capture: FakeCapture) -> None:
    moved = deeper(checkpoint, 2)
    model = LoadedModel(replace(moved, graphs=BlockGraphs(capture)))
    drawn(model)
    for block in moved.transformer.transformer_blocks:
        for parameter in block.parameters():
            parameter.data = 1.5 * parameter.data
    assert torch.equal(drawn(model), drawn(LoadedModel(moved)))
    assert len(capture.captured) == 4


def test_what_comes_from_outside_between_the_blocks_is_never_captured(
    plain: LoadedModel, model: LoadedModel, capture: FakeCapture, tmp_path: Path
) -> None:
    path = tmp_path / "control.png"
    path.write_bytes(picture(64, 48))
    net = save_controlnet(plain.checkpoint, tmp_path / "net", 1, 1)
    controls = (ControlUse("net", net, Reference(path, "", 64, 48), 1.0, "balanced", 0, 4),)
    assert torch.equal(drawn(model, controls=controls), drawn(plain, controls=controls))
    assert not capture.captured


def test_streamed_weights_are_never_captured(checkpoint: Checkpoint, capture: FakeCapture) -> None:
    streamed = deeper(checkpoint, 2)
    placed = place_transformer(streamed.transformer, torch.device("cpu"), HostShare(2, tables=True))
    drawn(LoadedModel(replace(streamed, placed=placed, graphs=BlockGraphs(capture))))
    assert not capture.captured
