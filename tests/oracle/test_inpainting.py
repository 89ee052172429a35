"""Seed images and masks against diffusers' pipelines: the same latents, bit for bit, from the same seed latents."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_inpaint
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_inpaint import QwenImageEditInpaintPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_img2img import QwenImageImg2ImgPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_inpaint import QwenImageInpaintPipeline
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.conditioning import EncodedReferences, encode_picture
from pipelines.editing.canvas import Canvas
from pipelines.editing.inpainting import add_noise
from pipelines.latents import grid
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import Reference, RenderRequest, Sampler
from tests.oracle.common import HEIGHT, WIDTH, denoised, drawn_noise, embeddings, entry, pipeline

SIZE = (WIDTH, HEIGHT)
SEED_IMAGE = Image.radial_gradient("L").resize(SIZE).convert("RGB")
STEPS = 4


def holed_mask() -> Image.Image:
    """White in some whole latent pixels, of 8 × 8 pixels each."""
    mask = Image.new("L", SIZE)
    mask.paste(255, (24, 8, 72, 40))
    return mask


def ours(
    checkpoint: Checkpoint,
    strength: float,
    clean: torch.Tensor,
    mask: Image.Image | None = None,
    mode: Mode = "text_to_image",
    references: EncodedReferences | None = None,
) -> torch.Tensor:
    _, rows, columns = grid(*SIZE, checkpoint.vae)
    canvas = Canvas(SEED_IMAGE, None if mask is None else np.asarray(mask, np.float32) / 255, (0, 0, *SIZE))
    request = RenderRequest(
        entry(mode).air, "", None, *SIZE, STEPS, Sampler(), 4.0, 3, seed_image=UNREAD, strength=strength
    )
    latent_mask = canvas.downsample_mask(2 * rows, 2 * columns)
    return denoised(request, checkpoint, references=references, clean=clean, mask=latent_mask)


# `begin` takes the latents of the seed image, so the path is never read.
UNREAD = Reference(path=__file__, sha256="", width=WIDTH, height=HEIGHT)  # pyright: ignore[reportArgumentType]


def theirs(pipe: Any, checkpoint: Checkpoint, strength: float, clean: torch.Tensor, **options: Any) -> torch.Tensor:
    """Run a pipeline on our noise and seed latents, because it samples its own from the posterior."""
    noise = drawn_noise(checkpoint).to(checkpoint.dtype)

    def prepared(_: Any, timestep: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        latents = pipe.scheduler.scale_noise(clean, timestep, noise)
        return (latents, noise, clean) if "mask_image" in options else latents

    pipe.prepare_latents = prepared
    return pipe(
        image=SEED_IMAGE,
        strength=strength,
        prompt_embeds=embeddings(checkpoint, 1, 11),
        negative_prompt_embeds=embeddings(checkpoint, 2, 7),
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        true_cfg_scale=4.0,
        output_type="latent",
        **options,
    ).images


@pytest.fixture
def clean(precise: Checkpoint) -> torch.Tensor:
    with torch.inference_mode():
        return encode_picture(SEED_IMAGE, LoadedModel(precise))


@pytest.mark.parametrize("strength", [0.29, 0.6, 1.0])
class TestLatents:
    def test_image_to_image(
        self, precise: Checkpoint, video_vae: AutoencoderKLQwenImage, clean: torch.Tensor, strength: float
    ) -> None:
        pipe = pipeline(QwenImageImg2ImgPipeline, precise, video_vae)
        assert torch.equal(ours(precise, strength, clean), theirs(pipe, precise, strength, clean))

    def test_inpainting(
        self, precise: Checkpoint, video_vae: AutoencoderKLQwenImage, clean: torch.Tensor, strength: float
    ) -> None:
        pipe = pipeline(QwenImageInpaintPipeline, precise, video_vae)
        expected = theirs(pipe, precise, strength, clean, mask_image=holed_mask())
        # diffusers adds products with 0 and 1, which can change the sign of a zero: equal, but not bit for bit.
        assert torch.equal(ours(precise, strength, clean, holed_mask()), expected)

    def test_edit_inpainting(
        self,
        precise: Checkpoint,
        video_vae: AutoencoderKLQwenImage,
        clean: torch.Tensor,
        monkeypatch: pytest.MonkeyPatch,
        strength: float,
    ) -> None:
        """diffusers' pipeline uses the seed image as its only reference, so ours gets it too."""
        monkeypatch.setattr(
            pipeline_qwenimage_edit_inpaint, "calculate_dimensions", lambda area, ratio: (WIDTH, HEIGHT, None)
        )
        pipe = pipeline(QwenImageEditInpaintPipeline, precise, video_vae)
        expected = theirs(pipe, precise, strength, clean, mask_image=holed_mask())
        references = EncodedReferences(clean, (grid(*SIZE, precise.vae),), (SEED_IMAGE,), key=None)
        assert torch.equal(ours(precise, strength, clean, holed_mask(), "edit", references), expected)


def test_noised_is_scale_noise(precise: Checkpoint, video_vae: AutoencoderKLQwenImage, clean: torch.Tensor) -> None:
    pipe = pipeline(QwenImageImg2ImgPipeline, precise, video_vae)
    noise, scheduler = drawn_noise(precise).to(precise.dtype), pipe.scheduler
    scheduler.set_timesteps(sigmas=[0.7, 0.3], mu=0.5)
    scheduler.set_begin_index(1)
    expected = scheduler.scale_noise(clean, scheduler.timesteps[1:], noise)
    assert torch.equal(add_noise(clean, noise, scheduler.sigmas[1]), expected)
