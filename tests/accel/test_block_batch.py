"""Forwards that run together against the same forwards alone."""

import copy
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
import torch

from accel.block_batch import run_together
from accel.block_forward import BlockForward, block_forward
from accel.block_runner import BlockRunner, RangeFunction, WeightAccess
from accel.kernels.compiled_block import CompiledBlocks
from tests.accel.inputs import DEPTH, NOISE_TOKENS, WORDS, Inputs, make_inputs
from tests.compiled import UntracedBlocks


def both(transformer: Any, inputs: Inputs, weights: WeightAccess) -> list[BlockRunner]:
    """The runners of both branches. The second one has fewer words."""
    time, shorter = torch.tensor([inputs.time]), inputs.embeds("uncond")[:, :4]
    return [
        BlockRunner(transformer, inputs.tokens, time, embeds, inputs.shapes, lambda: inputs.residuals, weights)
        for embeds in (inputs.embeds("cond"), shorter)
    ]


RUNS = pytest.mark.parametrize(
    "run",
    [
        pytest.param(block_forward, id="library"),
        pytest.param(UntracedBlocks(), id="compiled"),
    ],
)


@torch.inference_mode()
@RUNS
@pytest.mark.parametrize("references", [False, True])
def test_a_batch_of_both_branches_computes_what_each_alone_does(
    transformer: Any, references: bool, run: BlockForward
) -> None:
    inputs = make_inputs(references=references)
    alone, batch = (
        both(transformer, inputs, access) for access in (WeightAccess(), WeightAccess(batch_branches=True, run=run))
    )
    for end in (2, DEPTH):
        run_together(alone, end)
        run_together(batch, end)
        for one, other in zip(alone, batch, strict=True):
            assert other.position == end
            torch.testing.assert_close(other.image, one.image, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(other.text, one.text, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("references", [False, True])
def test_each_forward_of_a_batch_has_its_own_timestep(transformer: Any, references: bool) -> None:
    keys: list[Hashable] = []

    def run_range(key: Hashable, function: RangeFunction, inputs: Sequence[torch.Tensor], held: object) -> Any:
        keys.append(key)
        return function(*inputs)

    def runners(access: WeightAccess, *times: float) -> list[BlockRunner]:
        several = (make_inputs(time, moved=time, references=references) for time in times)
        return [runner for each in several for runner in both(transformer, each, access)]

    for times in ((0.5, 0.1), (0.5, 0.1, 0.9)):
        alone = runners(WeightAccess(), *times)
        for access in (
            WeightAccess(batch_branches=True),
            WeightAccess(batch_branches=True, run_range=run_range),
        ):
            batch = runners(access, *times)
            for each in (alone, batch):
                run_together(each, DEPTH)
            for one, other in zip(alone, batch, strict=True):
                torch.testing.assert_close(other.output(), one.output(), atol=1e-5, rtol=1e-5)
    at_one_time = runners(WeightAccess(batch_branches=True, run_range=run_range), 0.5, 0.5)
    for runner in at_one_time:
        runner.timestep = at_one_time[0].timestep
    run_together(at_one_time, DEPTH)
    assert len(set(keys)) == 3  # the last one has the shapes of the first, and other rows of the modulation


@torch.inference_mode()
@pytest.mark.parametrize("times", [(0.5, 0.1), (0.5, 0.1, 0.9)])
def test_a_compiled_batch_has_timesteps_too(transformer: Any, times: Sequence[float]) -> None:
    """Two rows of the modulation are taken in another way than more."""
    compare_at_times(transformer, times, UntracedBlocks())


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("transformer", [True], ids=["zero_cond_t"], indirect=True)
def test_the_compiler_knows_both_ways_to_take_rows(transformer: Any) -> None:
    """Clean references double the rows of the image, so they are four. Those of the text are two."""
    torch.compiler.reset()  # graphs of other modules count towards the compiler's limit
    compare_at_times(transformer, (0.5, 0.1), CompiledBlocks("eager"))


def compare_at_times(transformer: Any, times: Sequence[float], run: BlockForward) -> None:
    """Compare forwards at some timesteps in one batch with each alone."""
    alone, batch = (
        [
            BlockRunner(
                transformer, each.tokens, torch.tensor([time]), each.embeds("cond"), each.shapes, weights=access
            )
            for time in times
            for each in [make_inputs(time, moved=time)]
        ]
        for access in (WeightAccess(), WeightAccess(batch_branches=True, run=run))
    )
    for each in (alone, batch):
        run_together(each, DEPTH)
    for one, other in zip(alone, batch, strict=True):
        torch.testing.assert_close(other.output(), one.output(), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_batch_runs_each_block_once(transformer: Any) -> None:
    tokens: list[tuple[int, int]] = []

    def run(block: Any, image: torch.Tensor, text: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        tokens.append((image.shape[1], text.shape[1]))
        return block_forward(block, image, text, *others)

    runners = both(transformer, make_inputs(), WeightAccess(batch_branches=True, run=run))
    run_together(runners, DEPTH)
    assert tokens == [(2 * NOISE_TOKENS, WORDS + 4)] * DEPTH
    tokens.clear()
    runners = both(transformer, make_inputs(controls=1), WeightAccess(batch_branches=True, run=run))
    run_together(runners, DEPTH)  # ControlNets act on each branch between the blocks
    assert len(tokens) == 2 * DEPTH


@torch.inference_mode()
def test_a_range_runs_at_once_with_all_that_it_depends_on_in_its_key(transformer: Any) -> None:
    seen: list[Any] = []

    def run(key: Hashable, function: RangeFunction, inputs: Sequence[torch.Tensor], held: object) -> Any:
        seen.append(key)
        return function(*inputs)

    inputs = make_inputs()
    plain, ranged = (both(transformer, inputs, WeightAccess(run_range=each)) for each in (None, run))
    for end in (2, DEPTH):
        run_together(plain, end)
        run_together(ranged, end)
    assert all(torch.equal(one.output(), other.output()) for one, other in zip(plain, ranged, strict=True))
    assert [key[:2] for key in seen] == [(0, 2), (0, 2), (2, DEPTH), (2, DEPTH)]
    assert len(set(seen)) == 4  # the branches differ in their words
    run_together(both(transformer, inputs, WeightAccess(run_range=run)), 2)
    assert seen[4:] == seen[:2]
    run_together(both(copy.deepcopy(transformer), inputs, WeightAccess(run_range=run)), 2)
    assert not set(seen[6:]) & set(seen[:6])  # other weights
    run_together(both(transformer, make_inputs(controls=1), WeightAccess(run_range=run)), 2)
    assert len(seen) == 8  # ControlNets come from outside


@torch.inference_mode()
def test_each_image_is_a_batch_of_its_own_where_images_are_apart(transformer: Any) -> None:
    tokens: list[int] = []

    def run(block: Any, image: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        tokens.append(image.shape[1])
        return block_forward(block, image, *others)

    weights = WeightAccess(batch_branches=True, images_apart=True, run=run)
    inputs = [make_inputs(time, moved=time) for time in (0.5, 0.1)]
    alone, together = ([both(transformer, each, weights) for each in inputs] for _ in range(2))
    for each in alone:
        run_together(each, DEPTH)
    tokens.clear()
    run_together([runner for each in together for runner in each], DEPTH)
    assert tokens == [2 * NOISE_TOKENS] * 2 * DEPTH
    for pair in zip(alone, together, strict=True):
        for one, other in zip(*pair, strict=True):
            assert torch.equal(one.output(), other.output())
