"""Renders an image one denoising step at a time: `prepare`, `advance` until done, `finish`.

All state of a render is in its `RenderState`; the shared models are never changed. So progress, cancelling between
steps and taking turns need no special cases. Knows models and numbers; knows no JSON.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from PIL import Image

from accel.block_batch import run_together
from accel.block_forward import BlockForward, block_forward
from accel.block_runner import RESIDENT, RangeFunction, WeightAccess
from accel.cache.evaluation import Evaluation, Forward
from accel.cache.session import CacheSession, open_session
from accel.calibration.recorder import Recorder
from accel.kernels.block_graphs import BlockGraphs
from pipelines.catalog.catalog import ModelEntry
from pipelines.conditioning import (
    EncodedReferences,
    encode_context,
    encode_picture,
    encode_prompt,
    encode_references,
)
from pipelines.controlnet.blockwise import BlockwiseControl, blockwise_residuals
from pipelines.controlnet.nets import prepare_controls
from pipelines.controlnet.residuals import Control, ControlResiduals, control_residuals
from pipelines.editing.canvas import WHOLE, Canvas, make_canvas
from pipelines.editing.inpainting import Inpainting, add_noise, pack_mask
from pipelines.errors import LoadError, LoraError, part_at_fault
from pipelines.latents import PATCH, decode_tokens, grid, noise, step_noise
from pipelines.limits import MAX_SEED
from pipelines.lora.apply import NO_LORAS, LoraSet, apply_loras, select_loras
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.encoder.prompt_store import EncodedPrompt
from pipelines.models.memory import ByteBudgetCache
from pipelines.models.modulation import RenderModulation
from pipelines.pictures.reader import PictureReader
from pipelines.request import Reference, RenderRequest
from pipelines.sampling.evaluations import expected_timesteps, timestep_of
from pipelines.sampling.guidance import apply_cfg
from pipelines.sampling.sigmas import flow_sigmas, scheduler_config
from pipelines.sampling.solvers.base import Solver
from pipelines.sampling.solvers.registry import make_solver
from pipelines.sizes import edit_size, keeps_aspect, native_size, same_aspect

# Qwen-Image's own convention for "no negative prompt".
NEUTRAL_PROMPT = " "


@dataclass(slots=True)
class RenderState:
    """One image between two steps.

    `size` is that of the finished image in pixels. `latents` are packed [1, tokens, 4z], on the token grid `shape`.
    `cond` and `uncond` are prompt embeddings [1, tokens, width]; `uncond` is None when guidance is off. `references`
    are clean tokens that follow the image's own in the sequence. `canvas` is the seed image with its mask, and
    `inpainting` keeps masked latents equal to it. `controls` are ControlNets. `cache` decides which steps are computed
    in full; without one, all are. A `recorder` replaces it for calibration. `modulation` replaces the layers that
    compute the modulation, where these are not on the device.
    """

    checkpoint: Checkpoint
    size: tuple[int, int]
    shape: tuple[int, int, int]
    latents: torch.Tensor
    sigmas: torch.Tensor
    solver: Solver
    cond: torch.Tensor
    uncond: torch.Tensor | None
    true_cfg_scale: float
    references: EncodedReferences | None
    seed: int
    canvas: Canvas | None = None
    inpainting: Inpainting | None = None
    loras: LoraSet = NO_LORAS
    warnings: tuple[str, ...] = ()
    controls: tuple[Control | BlockwiseControl, ...] = ()
    cache: CacheSession | None = None
    recorder: Recorder | None = None
    modulation: RenderModulation | None = None
    step: int = 0

    @property
    def total(self) -> int:
        """The number of steps of the image."""
        return len(self.sigmas) - 1

    @property
    def compiled(self) -> BlockForward | None:
        """What runs the blocks as a compiled graph. None with LoRAs that the graph has no place for."""
        if (compiled := self.checkpoint.compiled) is None or not self.loras.hooks:
            return compiled
        return None if self.loras.low_rank is None else compiled.with_low_rank(self.loras.low_rank.blocks)


@torch.inference_mode()
def prepare(request: RenderRequest, index: int, model: LoadedModel, entry: ModelEntry) -> RenderState:
    """The state of image `index` of a request before its first step.

    Raises `RenderError`, with the part of the request at fault.
    """
    checkpoint = model.checkpoint
    seed = (request.seed + index) % (MAX_SEED + 1)
    reader = PictureReader()
    canvas = make_canvas(request, reader)
    if canvas is not None and canvas.mask_empty:
        request = replace(request, strength=0.0)
    pictures = _opened(request.references, reader)
    in_context = entry.mode == "text_to_image"  # the control image of a LoRA, which the text encoder does not see
    references = None if in_context else encode_references(pictures, model, entry)
    with part_at_fault("prompt"):
        prompt = encode_prompt(request.prompt, references, model, entry)
    prompts = [("prompt", prompt)]
    uncond = None
    if request.true_cfg_scale > 1:
        with part_at_fault("negative_prompt"):
            negative = encode_prompt(request.negative_prompt or NEUTRAL_PROMPT, references, model, entry)
        prompts.append(("negative prompt", negative))
        uncond = negative.embeds
    shown = None
    if request.references and not in_context:
        shown = request.references[-1].width, request.references[-1].height
    width, height = native_size(request.width, request.height, entry, shown)
    box = WHOLE if canvas is None else canvas.relative_box
    if in_context:
        references = encode_context(pictures, width, height, box, model)
    shape = grid(width, height, checkpoint.vae)
    state = begin(
        replace(request, width=width, height=height),
        checkpoint,
        noise=noise(shape, _channels(checkpoint), seed),
        cond=prompt.embeds,
        uncond=uncond,
        references=references,
        clean=None if canvas is None else encode_picture(canvas.crop((width, height)), model),
        mask=None if canvas is None else canvas.downsample_mask(PATCH * shape[1], PATCH * shape[2]),
        controls=prepare_controls(
            request.controls,
            width,
            height,
            request.executed_steps,
            model,
            reader,
            box=box,
            mask=None if canvas is None else canvas.scale_mask((width, height)),
        ),
        loras=_select_loras(request, model, entry),
        seed=seed,
        memory=model.memory,
    )
    state.size, state.canvas = (request.width, request.height), canvas
    stretched = _stretched(request) if in_context else _aspect_warning(request, shown, entry)
    warnings = (*_warnings(prompts, canvas), *reader.warnings, *stretched)
    state.warnings = (*warnings, *state.warnings)
    return state


def begin(
    request: RenderRequest,
    checkpoint: Checkpoint,
    *,
    noise: torch.Tensor,
    cond: torch.Tensor,
    uncond: torch.Tensor | None,
    references: EncodedReferences | None = None,
    clean: torch.Tensor | None = None,
    mask: np.ndarray | None = None,
    controls: tuple[Control | BlockwiseControl, ...] = (),
    loras: LoraSet = NO_LORAS,
    seed: int = 0,
    memory: ByteBudgetCache | None = None,
) -> RenderState:
    """The state before the first step, from what `prepare` has encoded and loaded.

    `clean` are packed latents like the noise, `mask` is [2·rows, 2·columns] in 0…1, one value a latent pixel. `memory`
    keeps tables of the modulation for other renders.
    """
    shape = grid(request.width, request.height, checkpoint.vae)
    tokens = shape[1] * shape[2]
    config = scheduler_config(checkpoint.scheduler, request.sampler)
    sigmas = flow_sigmas(request.steps, tokens, config, request.sampler.schedule)
    sigmas = sigmas[request.steps - request.executed_steps :]
    session = None
    if request.cache is not None:
        depth = checkpoint.transformer.config["num_layers"]
        session = open_session(request.cache, steps=request.steps, sigmas=sigmas.tolist(), depth=depth)
    # On the device, like diffusers' own, so that products with the sample round alike.
    sigmas = sigmas.to(checkpoint.device)
    latents = noise = noise.to(checkpoint.device, checkpoint.dtype)
    inpainting = None
    if clean is not None:
        latents = add_noise(clean, noise, sigmas[0])
        if mask is not None:
            inpainting = Inpainting(clean, noise, pack_mask(mask, _channels(checkpoint)).to(checkpoint.device))
    modulation = None
    if checkpoint.placed is not None and (stream := checkpoint.placed.modulation) is not None:
        timesteps = expected_timesteps(request.sampler, sigmas, checkpoint.dtype)
        modulation = RenderModulation(checkpoint, stream, memory or ByteBudgetCache(), timesteps, loras.modulation)
    return RenderState(
        checkpoint=checkpoint,
        size=(request.width, request.height),
        shape=shape,
        latents=latents,
        sigmas=sigmas,
        solver=make_solver(request.sampler, step_noise(seed)),
        cond=cond,
        uncond=uncond,
        true_cfg_scale=request.true_cfg_scale,
        references=references,
        controls=controls,
        seed=seed,
        inpainting=inpainting,
        loras=loras,
        warnings=loras.warnings,
        cache=session,
        modulation=modulation,
    )


@torch.inference_mode()
def advance(states: Sequence[RenderState], *, together: bool = False) -> None:
    """Advance each image by one step. The result never depends on the other images in the list.

    `together` evaluates the images in one pass over the blocks, so streamed weights are copied once. They are of one
    model, at one step, and have neither caches nor LoRAs nor ControlNets.
    """
    velocities = _evaluate_together(states) if together else [None] * len(states)
    for state, velocity in zip(states, velocities, strict=True):
        sigma, sigma_next = state.sigmas[state.step], state.sigmas[state.step + 1]
        state.latents = state.solver.step(_evaluator(state, velocity), state.latents, sigma, sigma_next)
        state.step += 1
        if state.inpainting is not None:
            state.latents = state.inpainting.blend(state.latents, sigma_next, state.step / state.total)


@torch.inference_mode()
def finish(state: RenderState) -> Image.Image:
    """Decode an image after its last step, at its final size.

    Raises `ValueError` before that, and `ResultError` when the result is not finite.
    """
    if state.step != state.total:
        raise ValueError(f"step {state.step} of {state.total}: the image is not finished")
    if state.canvas is not None and not state.total:
        return state.canvas.picture
    picture = decode_tokens(state.checkpoint.vae, state.latents, state.shape)
    if state.canvas is not None:
        return state.canvas.paste_back(picture)
    return picture if picture.size == state.size else picture.resize(state.size, Image.Resampling.LANCZOS)


def _select_loras(request: RenderRequest, model: LoadedModel, entry: ModelEntry) -> LoraSet:
    """The LoRAs of a request, and then those of the model. An error of the latter is none of the request."""
    try:
        return select_loras((*request.loras, *entry.own_loras), model)
    except LoraError as error:
        if error.path in {f"loras[{len(request.loras) + number}]" for number in range(len(entry.loras))}:
            raise LoadError(f"Model '{entry.air}': {error}") from error
        raise


def _opened(references: Sequence[Reference], reader: PictureReader) -> list[Image.Image]:
    pictures = []
    for number, reference in enumerate(references):
        with part_at_fault(f"references[{number}]"):
            pictures.append(reader.image(reference, f"reference image {number + 1}"))
    return pictures


def _warnings(prompts: list[tuple[str, EncodedPrompt]], canvas: Canvas | None) -> Iterator[str]:
    for name, encoded in prompts:
        if encoded.dropped:
            yield f"The {name} was too long: its last {encoded.dropped} tokens were dropped."
    if canvas is not None and canvas.mask_empty:
        yield "The mask is black everywhere, so nothing was rendered: the seed image is returned."


def _stretched(request: RenderRequest) -> Iterator[str]:
    for picture in request.references:
        if not same_aspect(picture.width, picture.height, request.width, request.height):
            size = f"{request.width}×{request.height}"
            yield f"The reference image is {picture.width}×{picture.height} pixels, so it is stretched to {size}."


def _aspect_warning(request: RenderRequest, shown: tuple[int, int] | None, entry: ModelEntry) -> Iterator[str]:
    """Warn when an edit that follows its reference's shape cannot have it. A size of the sender's own is meant."""
    size = request.width, request.height
    if shown is not None and size == edit_size(*shown, entry) and not keeps_aspect(*size, shown):
        yield f"The reference image is {shown[0]}×{shown[1]} pixels. The image has another aspect: {size[0]}×{size[1]}."


def _evaluator(
    state: RenderState, velocity: torch.Tensor | None
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What evaluates the model for a solver. The velocity of the latents may be known already."""
    latents = state.latents

    def evaluate(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if velocity is not None and sample is latents:
            return velocity
        return _guided(state, sample, sigma)

    return evaluate


def _evaluate_together(states: Sequence[RenderState]) -> list[torch.Tensor]:
    """The velocity of each image at its latents. All branches go through a block before the next one runs."""
    runners = []
    for state in states:
        evaluation = _evaluation(state, state.latents, state.sigmas[state.step])
        runners.append([evaluation.runner(forward) for forward in evaluation.forwards])
    run_together([runner for own in runners for runner in own], runners[0][0].depth)
    return [_apply_cfg(state, [runner.output() for runner in own]) for state, own in zip(states, runners, strict=True)]


def _guided(state: RenderState, sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The velocity of a sample at a sigma, with true CFG where it is on."""
    evaluation = _evaluation(state, sample, sigma)
    with apply_loras(state.loras):
        if (watching := state.recorder or state.cache) is not None:
            return _apply_cfg(state, watching.evaluate(evaluation))
        return _apply_cfg(state, [output[:, : sample.shape[1]] for output in _predict(evaluation)])


def _apply_cfg(state: RenderState, velocities: Sequence[torch.Tensor]) -> torch.Tensor:
    velocity, *negative = velocities
    return apply_cfg(velocity, negative[0], state.true_cfg_scale) if negative else velocity


def _evaluation(state: RenderState, sample: torch.Tensor, sigma: torch.Tensor) -> Evaluation:
    """What the transformer is to predict for each branch of guidance."""

    @cache  # runs once for both branches, and never where a step cache skips all blocks
    def added() -> ControlResiduals:
        return control_residuals(
            [control for control in state.controls if isinstance(control, Control)],
            state.step,
            sample=sample,
            timestep=timestep_of(sample, sigma),
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
    timestep = timestep_of(sample, sigma)
    return Evaluation(
        state.checkpoint.transformer,
        tokens,
        timestep,
        shapes,
        forwards,
        state.step,
        controls=tuple(control.start <= state.step < control.end for control in state.controls),
        weights=_weights(state, timestep),
    )


def _predict(evaluation: Evaluation) -> list[torch.Tensor]:
    """The transformer's outputs for all branches, with every block computed."""
    # The transformer's own forward has no place for blockwise ControlNets, and needs all weights on the device.
    if evaluation.weights != RESIDENT or any(forward.after_block is not None for forward in evaluation.forwards):
        runners = [evaluation.runner(forward) for forward in evaluation.forwards]
        run_together(runners, runners[0].depth)
        return [runner.output() for runner in runners]
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


def _weights(state: RenderState, timestep: torch.Tensor) -> WeightAccess:
    """Where the blocks have their weights from in an evaluation at a timestep [1], and what runs them."""
    checkpoint, placed = state.checkpoint, state.checkpoint.placed
    return WeightAccess(
        stream=None if placed is None else placed.blocks,
        modulation=None if state.modulation is None else cache(partial(state.modulation.at, timestep)),
        run=state.compiled or block_forward,
        batch_branches=checkpoint.batch_branches,
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


def _channels(checkpoint: Checkpoint) -> int:
    return checkpoint.transformer.config["in_channels"] // 4
