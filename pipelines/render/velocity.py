"""What the transformer predicts for an image at its current step: the velocity, with guidance, LoRAs and ControlNets.

A step cache may decide what is computed. Knows states; changes none of their latents.
"""

from collections.abc import Hashable, Sequence
from functools import cache, partial

import torch

from accel.block_batch import run_together
from accel.block_forward import block_forward
from accel.block_runner import RESIDENT, RangeFunction, WeightAccess
from accel.cache.evaluation import Evaluation, Forward
from accel.kernels.block_graphs import BlockGraphs
from pipelines.controlnet.blockwise import BlockwiseControl, blockwise_residuals
from pipelines.controlnet.residuals import Control, ControlResiduals, control_residuals
from pipelines.lora.apply import apply_loras
from pipelines.render.state import RenderState
from pipelines.sampling.evaluations import timestep_of
from pipelines.sampling.guidance import apply_cfg


def evaluate_velocity(state: RenderState, sample: torch.Tensor, sigma: torch.Tensor, number: int) -> torch.Tensor:
    """The velocity of a sample at a sigma, with true CFG where it is on. `number` counts the step's evaluations."""
    evaluation = _evaluation(state, sample, timestep_of(sample, sigma), number)
    with apply_loras(state.loras):
        if (watching := state.recorder or state.cache) is not None:
            return _apply_cfg(state, watching.evaluate(evaluation))
        return _apply_cfg(state, [output[:, : sample.shape[1]] for output in _predict(evaluation)])


def evaluate_together(states: Sequence[RenderState]) -> list[torch.Tensor]:
    """The velocity of each image at its latents. All branches go through a block before the next one runs.

    The images share their LoRAs. Those at the same sigma share the tensor of the timestep, and so the modulation.
    """
    timesteps: dict[float, torch.Tensor] = {}
    evaluations = []
    for state in states:
        sigma = state.sigmas[state.step]
        if sigma.number not in timesteps:
            timesteps[sigma.number] = timestep_of(state.latents, sigma.tensor)
        evaluations.append(_evaluation(state, state.latents, timesteps[sigma.number], 0))
    with apply_loras(states[0].loras):
        velocities = _run_blocks(evaluations)
    return [_apply_cfg(*each) for each in zip(states, velocities, strict=True)]


def _apply_cfg(state: RenderState, velocities: Sequence[torch.Tensor]) -> torch.Tensor:
    velocity, *negative = velocities
    return apply_cfg(velocity, negative[0], state.true_cfg_scale) if negative else velocity


def _evaluation(state: RenderState, sample: torch.Tensor, timestep: torch.Tensor, number: int) -> Evaluation:
    """What the transformer is to predict for each branch of guidance."""

    @cache  # runs once for both branches, and never where a step cache skips all blocks
    def added() -> ControlResiduals:
        return control_residuals(
            [control for control in state.controls if isinstance(control, Control)],
            state.step,
            sample=sample,
            timestep=timestep,
            embeds=state.cond,
            shape=state.shape,
            blocks=state.checkpoint.transformer.config["num_layers"],
            appended=0 if state.references is None else state.references.tokens.shape[1],
        )

    blockwise = [control for control in state.controls if isinstance(control, BlockwiseControl)]
    after_block = blockwise_residuals(blockwise, state.step, conditional=True)
    forwards = [Forward("cond", state.cond, lambda: added().cond, after_block)]
    if state.uncond is not None:
        after_block = blockwise_residuals(blockwise, state.step, conditional=False)
        forwards.append(Forward("uncond", state.uncond, lambda: added().uncond, after_block))
    tokens, shapes = sample, [state.shape]
    if state.references is not None:
        tokens = torch.cat([tokens, state.references.tokens], dim=1)
        shapes += state.references.shapes
    return Evaluation(
        state.checkpoint.transformer,
        tokens,
        timestep,
        shapes,
        forwards,
        state.step,
        controls=tuple(control.start <= state.step < control.end for control in state.controls),
        weights=weight_access(state, timestep, number),
    )


def _predict(evaluation: Evaluation) -> list[torch.Tensor]:
    """The transformer's outputs for all branches, with every block computed."""
    # The transformer's own forward has no place for blockwise ControlNets, and needs all weights on the device. With
    # `zero_cond_t` it copies the rows of the modulation there, and waits for all that the device has to do.
    blockwise = any(forward.after_block is not None for forward in evaluation.forwards)
    if blockwise or evaluation.weights != RESIDENT or evaluation.transformer.config.get("zero_cond_t"):
        return _run_blocks([evaluation])[0]
    return [
        evaluation.transformer(
            hidden_states=evaluation.tokens,
            timestep=evaluation.timestep,
            encoder_hidden_states=forward.embeds,
            encoder_hidden_states_mask=None,
            img_shapes=[evaluation.shapes],
            controlnet_block_samples=forward.control_residuals(),
            return_dict=False,
        )[0]
        for forward in evaluation.forwards
    ]


def _run_blocks(evaluations: Sequence[Evaluation]) -> list[list[torch.Tensor]]:
    """The outputs of the forwards of each evaluation. Each block runs for all of them before the next one."""
    runners = [[evaluation.runner(forward) for forward in evaluation.forwards] for evaluation in evaluations]
    run_together([runner for own in runners for runner in own], runners[0][0].depth)
    return [[runner.output() for runner in own] for own in runners]


def weight_access(state: RenderState, timestep: torch.Tensor, number: int) -> WeightAccess:
    """Where the blocks have their weights from in an evaluation of the step, at a timestep [1], and what runs them."""
    checkpoint, placed = state.checkpoint, state.checkpoint.placed
    return WeightAccess(
        stream=None if placed is None else placed.blocks,
        modulation=None if state.modulation is None else state.modulation.lookup(state.step, number, timestep),
        run=state.compiled or block_forward,
        batch_branches=checkpoint.batch_branches or state.batch_branches,
        # A measurement holds for one image. So its bits do not depend on the images beside it.
        images_apart=state.batch_branches and not checkpoint.batch_branches,
        run_range=None if checkpoint.graphs is None else partial(_run_range, checkpoint.graphs, state),
    )


def _run_range(
    graphs: BlockGraphs,
    state: RenderState,
    key: Hashable,
    function: RangeFunction,
    inputs: Sequence[torch.Tensor],
    held: object,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a range of blocks as a graph where there is one for its key, the LoRAs, and compilation."""
    loras = state.loras
    return graphs.run((key, loras.identity, state.compiled is not None), function, inputs, (held, loras))
