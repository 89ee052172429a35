"""Which renders share a table of the modulation, and what is added to it."""

from collections.abc import Hashable
from typing import Any

import pytest
import torch

from accel.block_forward import compute_modulation, time_embedding
from accel.weights import modulation_tables
from accel.weights.placement import HostShare, place_transformer
from accel.weights.streaming import WeightStream
from pipelines.models import modulation
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.memory import BUDGETS, Budget, ByteBudgetCache
from pipelines.models.modulation import RenderModulation
from tests.control import deeper

TIMES = (1.0, 0.6, 0.2)


@pytest.fixture
def placed(checkpoint: Checkpoint) -> Checkpoint:
    return deeper(checkpoint, 2)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of timesteps of each table that is made."""
    counts: list[int] = []

    def count(transformer: Any, timesteps: Any, stream: Any) -> Any:
        counts.append(len(timesteps))
        return modulation_tables.make_table(transformer, timesteps, stream)

    monkeypatch.setattr(modulation, "make_table", count)
    return counts


def stream_of(checkpoint: Checkpoint) -> WeightStream:
    stream = place_transformer(checkpoint.transformer, torch.device("cpu"), HostShare(tables=True)).modulation
    assert stream is not None
    return stream


def opened(
    checkpoint: Checkpoint, memory: ByteBudgetCache, *, times: tuple[float, ...] = TIMES, loras: Hashable = ()
) -> RenderModulation:
    timesteps = [torch.tensor([time]) for time in times]
    return RenderModulation(checkpoint, stream_of(checkpoint), memory, timesteps, loras)


@torch.inference_mode()
def test_one_table_serves_all_steps_and_the_next_render(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    for _ in range(2):
        render = opened(placed, memory)
        for time in TIMES:
            timestep = torch.tensor([time])
            embedding = time_embedding(placed.transformer, timestep)
            blocks: Any = placed.transformer.transformer_blocks
            for number, block in enumerate(blocks):
                expected = compute_modulation(block, embedding)
                assert torch.equal(render.at(timestep).block(number).image, expected.image)
                assert torch.equal(render.at(timestep).block(number).text, expected.text)
    assert made == [len(TIMES)]
    assert memory.usage()["modulation"] > 0


@torch.inference_mode()
def test_other_loras_and_other_timesteps_have_their_own(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    for loras in ((), (("a", 1.0),), (("a", 0.5),), ()):
        opened(placed, memory, loras=loras).at(torch.tensor([0.6]))
    opened(placed, memory, times=TIMES[:2]).at(torch.tensor([0.6]))
    assert len(made) == 4


@torch.inference_mode()
def test_an_unexpected_timestep_is_computed_once(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    render = opened(placed, memory)
    render.at(torch.tensor([1.0]))
    for _ in range(2):
        render.at(torch.tensor([0.7]))
    opened(placed, memory).at(torch.tensor([0.6]))
    opened(placed, memory).at(torch.tensor([0.7]))
    assert made[1:] == [1]


@torch.inference_mode()
def test_a_table_beyond_the_budget_serves_its_own_render(placed: Checkpoint, made: list[int]) -> None:
    render = opened(placed, ByteBudgetCache({**BUDGETS, "modulation": Budget(bytes=1)}))
    for time in TIMES:
        render.at(torch.tensor([time]))
    assert len(made) == 1
