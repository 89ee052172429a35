"""The steps of an image, and its picture after the last one. Knows latents; knows no request."""

from collections.abc import Callable, Sequence
from itertools import count

import torch
from PIL import Image

from pipelines.latents import decode_tokens
from pipelines.render.state import RenderState
from pipelines.render.velocity import evaluate_together, evaluate_velocity


@torch.inference_mode()
def advance(states: Sequence[RenderState]) -> None:
    """Advance each image by one step. The result never depends on the other images in the list."""
    for state in states:
        sigma, sigma_next = state.sigmas[state.step], state.sigmas[state.step + 1]
        velocity, state.velocity = state.velocity, None
        state.latents = state.solver.step(_evaluator(state, velocity), state.latents, sigma, sigma_next)
        state.step += 1
        if state.inpainting is not None:
            state.latents = state.inpainting.blend(state.latents, sigma_next.tensor, state.step / state.total)


@torch.inference_mode()
def evaluate_next(states: Sequence[RenderState]) -> None:
    """Evaluate what several images need for their next step, in one pass over the blocks. `advance` then uses it.

    They are of one model with the same LoRAs, and have neither caches nor ControlNets. Each has a step of its own. An
    error changes none of them.
    """
    for state, velocity in zip(states, evaluate_together(states), strict=True):
        state.velocity = velocity


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


def _evaluator(
    state: RenderState, velocity: torch.Tensor | None
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """What evaluates the model for a solver. The velocity of the latents may be known already."""
    latents, numbers = state.latents, count()

    def evaluate(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        number = next(numbers)
        if velocity is not None and sample is latents:
            return velocity
        return evaluate_velocity(state, sample, sigma, number)

    return evaluate
