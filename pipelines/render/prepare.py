"""The state of an image before its first step: what its request names is read, encoded and loaded.

Knows requests and models; runs no step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from accel.cache.session import open_session
from pipelines.catalog.catalog import ModelEntry
from pipelines.conditioning import (
    EncodedReferences,
    encode_context,
    encode_picture,
    encode_prompt,
    encode_references,
)
from pipelines.controlnet.blockwise import BlockwiseControl
from pipelines.controlnet.nets import prepare_controls
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import WHOLE, Canvas, make_canvas
from pipelines.editing.inpainting import Inpainting, add_noise, pack_mask
from pipelines.errors import LoadError, LoraError, part_at_fault
from pipelines.latents import PATCH, grid, noise, step_noise
from pipelines.limits import MAX_SEED
from pipelines.lora.apply import NO_LORAS, LoraSet, select_loras
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.encoder.prompt_store import EncodedPrompt
from pipelines.models.memory import ByteBudgetCache
from pipelines.models.modulation import RenderModulation
from pipelines.pictures.reader import PictureReader
from pipelines.render.state import RenderState
from pipelines.request import Reference, RenderRequest
from pipelines.sampling.evaluations import expected_timesteps
from pipelines.sampling.sigmas import flow_sigmas, scheduler_config, sigmas_on
from pipelines.sampling.solvers.registry import make_solver
from pipelines.sizes import edit_size, keeps_aspect, native_size, same_aspect

# Qwen-Image's own convention for "no negative prompt".
NEUTRAL_PROMPT = " "


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
    # On the device, like diffusers' own, so that products with the sample round alike.
    sigmas = sigmas_on(checkpoint.device, sigmas)
    session = None
    if request.cache is not None:
        depth = checkpoint.transformer.config["num_layers"]
        session = open_session(
            request.cache, steps=request.steps, sigmas=[sigma.number for sigma in sigmas], depth=depth
        )
    latents = noise = noise.to(checkpoint.device, checkpoint.dtype)
    inpainting = None
    if clean is not None:
        latents = add_noise(clean, noise, sigmas[0].tensor)
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


def _channels(checkpoint: Checkpoint) -> int:
    return checkpoint.transformer.config["in_channels"] // 4
