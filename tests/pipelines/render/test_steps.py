from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import Reference, Sampler, SolverName
from tests.pipelines.render.renders import asked, begun, drawn

SAMPLERS = [
    Sampler(solver, schedule) for solver in ("euler", "unipc_3", "dpmpp_sde") for schedule in ("shifted", "karras")
]


class TestPicture:
    def test_it_is_a_picture_and_not_a_flat_one(self, checkpoint: Checkpoint) -> None:
        picture = drawn(checkpoint, asked(width=256, height=128, steps=8))
        assert picture.shape == (128, 256, 3)
        assert picture.std(axis=(0, 1)).min() > 20
        assert ((picture == 0) | (picture == 255)).mean() < 0.5

    def test_the_same_request_is_the_same_picture(self, checkpoint: Checkpoint) -> None:
        assert np.array_equal(drawn(checkpoint, asked()), drawn(checkpoint, asked()))

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 8},
            {"prompt": "a blue square"},
            {"negative_prompt": "blurry"},
            {"true_cfg_scale": 2.0},
            {"true_cfg_scale": 1.0},
            {"steps": 4},
            {"sampler": Sampler("unipc_2")},
            {"sampler": Sampler("euler_a")},
            {"sampler": Sampler(schedule="karras")},
        ],
        ids=str,
    )
    def test_another_request_has_other_latents(self, checkpoint: Checkpoint, change: dict[str, Any]) -> None:
        states = [begun(checkpoint, request) for request in (asked(**change), asked())]
        for state in states:
            while state.step < state.total:
                advance([state])
        assert not torch.equal(states[0].latents, states[1].latents)

    @pytest.mark.parametrize("size", [(16, 16), (16, 272), (208, 48)])
    def test_unusual_sizes(self, checkpoint: Checkpoint, size: tuple[int, int]) -> None:
        width, height = size
        assert drawn(checkpoint, asked(width=width, height=height, steps=1)).shape == (height, width, 3)

    @pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_every_sampler_ends_finite(self, checkpoint: Checkpoint, sampler: Sampler, steps: int) -> None:
        state = begun(checkpoint, asked(sampler=sampler, steps=steps))
        while state.step < state.total:
            advance([state])
        assert state.step == state.total == steps
        assert state.latents.isfinite().all()


class TestSharing:
    """Renders share models and nothing else."""

    @pytest.mark.parametrize("solver", ["dpmpp_2m", "euler_a"])
    def test_taking_turns_equals_alone(self, checkpoint: Checkpoint, reference: Reference, solver: SolverName) -> None:
        edit = asked(seed=2, references=(reference,), sampler=Sampler(solver))
        alone = [drawn(checkpoint, asked(steps=4)), drawn(checkpoint, edit, mode="edit")]
        first, second = begun(checkpoint, asked(steps=4)), begun(checkpoint, edit, mode="edit")
        while first.step < first.total:
            advance([first, second] if second.step < second.total else [first])
        assert np.array_equal(np.asarray(finish(first)), alone[0])
        assert np.array_equal(np.asarray(finish(second)), alone[1])

    def test_an_abandoned_render_leaves_nothing(self, checkpoint: Checkpoint, reference: Reference) -> None:
        before = drawn(checkpoint, asked())
        hooks = hook_count(checkpoint)
        abandoned = begun(checkpoint, asked(seed=9, references=(reference,), width=96), mode="edit")
        advance([abandoned])
        del abandoned
        assert np.array_equal(drawn(checkpoint, asked()), before)
        assert hook_count(checkpoint) == hooks

    def test_a_failed_step_leaves_nothing(self, checkpoint: Checkpoint) -> None:
        before = drawn(checkpoint, asked())
        broken = begun(checkpoint, asked())
        broken.cond = broken.cond[..., :3]
        with pytest.raises(RuntimeError):
            advance([broken])
        assert np.array_equal(drawn(checkpoint, asked()), before)


def hook_count(checkpoint: Checkpoint) -> int:
    models = (checkpoint.transformer, checkpoint.vae, checkpoint.text_encoder)
    modules = (module for model in models for module in cast("torch.nn.Module", model).modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


class TestFinish:
    def test_not_before_the_last_step(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked())
        advance([state])
        with pytest.raises(ValueError, match="step 1 of 3"):
            finish(state)

    def test_no_step_after_the_last(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked(steps=1))
        advance([state])
        with pytest.raises(IndexError):
            advance([state])

    def test_no_gradients_are_kept(self, checkpoint: Checkpoint) -> None:
        state = begun(checkpoint, asked(steps=1))
        advance([state])
        assert all(not tensor.requires_grad for tensor in tensors(state))


def tensors(state: RenderState) -> Iterator[torch.Tensor]:
    return (value for value in (state.latents, state.cond, state.uncond) if value is not None)
