"""One image, one denoising step at a time: `prepare`, `advance` until done, `finish`.

Everything a render needs lives in its `RenderState` and dies with it; the models are shared and left as they are. So
progress, cancelling between steps and taking turns need no special cases. Knows models and numbers; knows no JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image

from pipelines.catalog import ModelEntry
from pipelines.conditioning import EncodedReferences, drawn_size, encode_prompt, encode_references
from pipelines.guidance import guide
from pipelines.integrators.base import Integrator
from pipelines.integrators.table import integrator
from pipelines.latents import decode_tokens, grid, noise, step_noise
from pipelines.loading import Checkpoint
from pipelines.pictures import open_reference
from pipelines.request import RenderRequest
from pipelines.sigmas import flow_sigmas

# Qwen-Image's own convention for "no negative prompt".
NEUTRAL_PROMPT = " "
SEEDS = 2**63  # the wire's range


@dataclass(slots=True)
class RenderState:
    """One image between two steps.

    `size` is the picture's in pixels; `latents` are packed [1, tokens, 4z] of the token grid `shape` it is drawn on;
    `cond` and `uncond` are prompt embeddings [1, tokens, width], `uncond` None when guidance is off; `references` are
    clean tokens that follow the image's in the sequence.
    """

    checkpoint: Checkpoint
    size: tuple[int, int]
    shape: tuple[int, int, int]
    latents: torch.Tensor
    sigmas: torch.Tensor
    integrator: Integrator
    cond: torch.Tensor
    uncond: torch.Tensor | None
    scale: float
    references: EncodedReferences | None
    seed: int
    warnings: tuple[str, ...] = ()
    step: int = 0

    @property
    def total(self) -> int:
        """How many steps the image takes."""
        return len(self.sigmas) - 1


@torch.inference_mode()
def prepare(request: RenderRequest, index: int, checkpoint: Checkpoint, entry: ModelEntry) -> RenderState:
    """Encode what image `index` of a request starts from. Raises `ValueError` on a control token in a prompt."""
    references = encode_references([open_reference(r) for r in request.references], checkpoint, entry)
    prompt = encode_prompt(request.prompt, references, checkpoint, entry)
    prompts = [("prompt", prompt)]
    uncond = None
    if request.true_cfg_scale > 1:
        negative = encode_prompt(request.negative_prompt or NEUTRAL_PROMPT, references, checkpoint, entry)
        prompts.append(("negative prompt", negative))
        uncond = negative.embeds
    seed = (request.seed + index) % SEEDS
    width, height = drawn_size(request.width, request.height, entry)
    state = begin(
        replace(request, width=width, height=height),
        checkpoint,
        noise=noise(grid(width, height, checkpoint.vae), _channels(checkpoint), seed),
        cond=prompt.embeds,
        uncond=uncond,
        references=references,
        seed=seed,
        warnings=tuple(
            f"The {name} was too long: its last {encoded.dropped} tokens were dropped."
            for name, encoded in prompts
            if encoded.dropped
        ),
    )
    state.size = (request.width, request.height)
    return state


def begin(
    request: RenderRequest,
    checkpoint: Checkpoint,
    *,
    noise: torch.Tensor,
    cond: torch.Tensor,
    uncond: torch.Tensor | None,
    references: EncodedReferences | None = None,
    seed: int = 0,
    warnings: tuple[str, ...] = (),
) -> RenderState:
    """The state before the first step, from noise and embeddings that are there already."""
    shape = grid(request.width, request.height, checkpoint.vae)
    tokens = shape[1] * shape[2]
    return RenderState(
        checkpoint=checkpoint,
        size=(request.width, request.height),
        shape=shape,
        latents=noise.to(checkpoint.device, checkpoint.dtype),
        # Kept on the device like diffusers' own, so that products with the sample round alike.
        sigmas=flow_sigmas(request.steps, tokens, checkpoint.scheduler, request.sampler.spacing).to(checkpoint.device),
        integrator=integrator(request.sampler, step_noise(seed)),
        cond=cond,
        uncond=uncond,
        scale=request.true_cfg_scale,
        references=references,
        seed=seed,
        warnings=warnings,
    )


@torch.inference_mode()
def advance(states: Sequence[RenderState]) -> None:
    """Move each image by one step. The result never depends on the others in the list."""
    for state in states:
        sigma, following = state.sigmas[state.step], state.sigmas[state.step + 1]
        state.latents = state.integrator.step(partial(_guided, state), state.latents, sigma, following)
        state.step += 1


@torch.inference_mode()
def finish(state: RenderState) -> Image.Image:
    """Decode a finished image at the size asked for. Raises `ValueError` before its last step."""
    if state.step != state.total:
        raise ValueError(f"step {state.step} of {state.total}: the image is not finished")
    picture = decode_tokens(state.checkpoint.vae, state.latents, state.shape)
    return picture if picture.size == state.size else picture.resize(state.size, Image.Resampling.LANCZOS)


def _guided(state: RenderState, sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The velocity of a sample at a sigma, with true CFG where it is on."""
    velocity = _velocity(state, sample, sigma, state.cond)
    if state.uncond is None:
        return velocity
    return guide(velocity, _velocity(state, sample, sigma, state.uncond), state.scale)


def _velocity(state: RenderState, sample: torch.Tensor, sigma: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
    """One forward of the transformer; only the image's own tokens count."""
    tokens, shapes = sample, [state.shape]
    if state.references is not None:
        tokens = torch.cat([tokens, state.references.tokens], dim=1)
        shapes += state.references.shapes
    # Rounded to the latents' dtype before dividing, as the models were sampled with.
    timestep = (sigma * 1000).expand(1).to(sample)
    predicted = state.checkpoint.transformer(
        hidden_states=tokens,
        timestep=timestep / 1000,
        encoder_hidden_states=embeds,
        encoder_hidden_states_mask=None,
        img_shapes=[shapes],
        return_dict=False,
    )[0]
    return predicted[:, : sample.shape[1]]


def _channels(checkpoint: Checkpoint) -> int:
    return checkpoint.transformer.config["in_channels"] // 4
