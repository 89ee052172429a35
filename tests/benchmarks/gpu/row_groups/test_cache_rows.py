from dataclasses import replace

import pytest
import torch

from accel.block_runner import RESIDENT
from accel.kernels.compiled_block import SEPARATE
from benchmarks.cache_harness import SCHEDULE, STEPS, Harness
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.row_groups.cache_rows import DECISION, NAME, compiled_cache_rows, plain_cache_rows
from benchmarks.random_models import ModelSize
from benchmarks.runs.budget import Figures
from tests.compiled import UntracedBlocks


@pytest.fixture(scope="module")
def bench() -> Bench:
    size = ModelSize.load("small")
    return Bench(replace(size, side=64, transformer=size.transformer | {"num_layers": 4}), torch.device("cpu"))


def measured(bench: Bench, name: str) -> Figures:
    (row,) = [row for row in (*compiled_cache_rows(bench), *plain_cache_rows(bench)) if row.name == name]
    return row.measure()


def test_our_caches_are_measured_with_compiled_blocks_and_without() -> None:
    bench = Bench(ModelSize.load("small"), torch.device("cpu"))
    compiled, plain = ([row.name for row in rows(bench)] for rows in (compiled_cache_rows, plain_cache_rows))
    ours = [f"{NAME}{name}" for name in ("uncached", "ours, first block cache", "ours, DBCache", "ours, TeaCache")]
    assert compiled == [*(f"{name}, compiled" for name in ours), DECISION]
    assert plain[:5] == [*ours, f"{NAME}diffusers, first block cache"]


@pytest.mark.parametrize("cache", ["first block cache", "DBCache", "TeaCache"])
def test_every_cache_of_ours_follows_the_schedule_on_compiled_blocks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    monkeypatch.setitem(bench._compiled, SEPARATE, UntracedBlocks())
    figures = measured(bench, f"{NAME}ours, {cache}, compiled")
    assert figures["schedule"] == SCHEDULE
    assert figures["steps"] == STEPS
    assert 0 < figures["reused_step"] < figures["seconds"]


@pytest.mark.slow
@torch.inference_mode()
def test_a_decision_is_what_a_session_adds_to_a_computed_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench._compiled, SEPARATE, UntracedBlocks())
    figures = measured(bench, DECISION)
    assert figures["steps"] == STEPS - 1
    assert figures["decision"] < figures["computed_step"]


def test_the_blocks_give_the_velocity_of_the_transformer(bench: Bench) -> None:
    harness = Harness(bench.models())
    _, plain = harness.time_step(harness.velocity, harness.noise(), 0)
    _, blocks = harness.time_step(harness.block_velocity(RESIDENT), harness.noise(), 0)
    assert torch.equal(plain, blocks)
