"""Which renders share a table of the modulation, and what is added to it."""

from collections.abc import Hashable
from typing import Any

import pytest
import torch

from accel.block_forward import compute_modulation, time_embedding
from accel.weights import modulation_tables
from accel.weights.placement import HostShare, place_transformer
from accel.weights.streaming import WeightStream
from benchmarks.step_caches.host_syncs import HostSyncCounter
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
    timesteps = [[torch.tensor([time])] for time in times]
    return RenderModulation(checkpoint, stream_of(checkpoint), memory, timesteps, loras)


@torch.inference_mode()
def test_one_table_serves_all_steps_and_the_next_render(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    for _ in range(2):
        render = opened(placed, memory)
        for step, time in enumerate(TIMES):
            timestep = torch.tensor([time])
            looked_up = render.lookup(step, 0, timestep)
            embedding = time_embedding(placed.transformer, timestep)
            blocks: Any = placed.transformer.transformer_blocks
            for number, block in enumerate(blocks):
                expected = compute_modulation(block, embedding)
                assert torch.equal(looked_up().block(number).image, expected.image)
                assert torch.equal(looked_up().block(number).text, expected.text)
    assert made == [len(TIMES)]
    assert memory.usage()["modulation"] > 0


@torch.inference_mode()
def test_other_loras_and_other_timesteps_have_their_own(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    for loras in ((), (("a", 1.0),), (("a", 0.5),), ()):
        opened(placed, memory, loras=loras).lookup(1, 0, torch.tensor([0.6]))()
    opened(placed, memory, times=TIMES[:2]).lookup(1, 0, torch.tensor([0.6]))()
    assert len(made) == 4


@torch.inference_mode()
def test_an_unexpected_timestep_is_computed_once(placed: Checkpoint, made: list[int]) -> None:
    memory = ByteBudgetCache()
    render = opened(placed, memory)
    render.lookup(0, 0, torch.tensor([1.0]))()
    for step, number in (
        (0, 1),
        (0, 2),
        (len(TIMES), 0),
    ):  # more evaluations than expected, and a step that nobody expects
        render.lookup(step, number, torch.tensor([0.7]))()
    found = render.lookup(0, 3, torch.tensor([1.0])), render.lookup(0, 4, torch.tensor([0.7]))
    assert made == [len(TIMES), 1]
    expected = opened(placed, ByteBudgetCache(), times=(0.7,)).lookup(0, 0, torch.tensor([0.7]))()
    assert torch.equal(found[1]().image, expected.image)


@torch.inference_mode()
def test_no_step_waits_for_its_timestep(placed: Checkpoint) -> None:
    """The evaluations of a step come in their order, also where a step cache looks up none."""
    render = RenderModulation(
        placed,
        stream_of(placed),
        ByteBudgetCache(),
        [[torch.tensor([time]) for time in times] for times in ((1.0, 0.8), (0.6, 0.4), (0.2,))],
        (),
    )
    render.lookup(0, 0, torch.tensor([1.0]))()  # the table is made
    with HostSyncCounter() as syncs:
        skipped, second = (render.lookup(1, number, torch.tensor([time])) for number, time in enumerate((0.6, 0.4)))
        found = second(), render.lookup(2, 0, torch.tensor([0.2]))()
    assert syncs.count == 0
    for each, time in zip(found, (0.4, 0.2), strict=True):
        expected = opened(placed, ByteBudgetCache(), times=(time,)).lookup(0, 0, torch.tensor([time]))()
        assert torch.equal(each.image, expected.image)
    assert torch.equal(skipped().image, skipped().image)


@torch.inference_mode()
def test_a_table_beyond_the_budget_serves_its_own_render(placed: Checkpoint, made: list[int]) -> None:
    render = opened(placed, ByteBudgetCache({**BUDGETS, "modulation": Budget(bytes=1)}))
    for step, time in enumerate(TIMES):
        render.lookup(step, 0, torch.tensor([time]))()
    assert len(made) == 1
