"""Our loop against diffusers' ControlNet pipeline: the same latents, bit for bit, from the same control latents."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel, QwenImageMultiControlNetModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_controlnet
from diffusers.pipelines.qwenimage.pipeline_qwenimage_controlnet import QwenImageControlNetPipeline
from diffusers.pipelines.qwenimage.pipeline_qwenimage_controlnet_inpaint import QwenImageControlNetInpaintPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from PIL import Image

from pipelines.controlnet.nets import prepare_controls
from pipelines.controlnet.residuals import Control
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loading.loader import load
from pipelines.pictures.reader import PictureReader
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler
from tests.control import deeper, save_controlnet
from tests.oracle.common import HEIGHT, WIDTH, denoised, drawn_noise, embeddings

STEPS = 3
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 0.15}  # of the two VAEs, whose kernels add up in another order


@pytest.fixture(scope="module")
def uses(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> list[ControlUse]:
    """Two control images for one net of two layers."""
    folder = tmp_path_factory.mktemp("controlnets")
    weights = save_controlnet(checkpoint, folder / "net", 2, seed=1)
    pictures = [Image.radial_gradient("L").resize((80, 60)), Image.linear_gradient("L").resize((50, 70))]
    for number, picture in enumerate(pictures):
        picture.convert("RGB").save(folder / f"{number}.png")
    images = [Reference(folder / f"{number}.png", "", *picture.size) for number, picture in enumerate(pictures)]
    return [ControlUse("net", weights, image) for image in images]


def library_net(folder: str, dtype: torch.dtype) -> QwenImageControlNetModel:
    """The net as the library reads it, with weights that begin at multiples of 64 bytes, as ours do.

    The library maps the file into memory. A matrix product adds up in another order where its operand is not aligned.
    """
    net = QwenImageControlNetModel.from_pretrained(folder, torch_dtype=dtype)
    net.load_state_dict({name: weight.clone() for name, weight in net.state_dict().items()}, assign=True)
    return net


def theirs(
    model: Checkpoint, weights: Path, uses: Sequence[ControlUse], scale: float, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The control latents of a pipeline, from the mean of the posterior, and its result."""
    net = library_net(uses[0].weights, model.dtype)
    vae = AutoencoderKLQwenImage.from_pretrained(weights, subfolder="vae", torch_dtype=model.dtype)
    several = len(uses) > 1
    pipe: Any = QwenImageControlNetPipeline(
        scheduler=cast("Any", FlowMatchEulerDiscreteScheduler.from_config(dict(model.scheduler))),
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        transformer=model.transformer,
        controlnet=QwenImageMultiControlNetModel([net]) if several else net,
    )
    pipe.set_progress_bar_config(disable=True)
    monkeypatch.setattr(
        pipeline_qwenimage_controlnet, "retrieve_latents", lambda output, generator: output.latent_dist.mode()
    )
    control_latents: list[torch.Tensor] = []
    forward = net.forward

    def spy(**inputs: Any) -> Any:
        if len(control_latents) < len(uses):
            control_latents.append(inputs["controlnet_cond"])
        return forward(**inputs)

    monkeypatch.setattr(net, "forward", spy)
    pictures = [Image.open(use.control_image.path) for use in uses]
    options = {
        "control_image": pictures,
        "controlnet_conditioning_scale": [use.weight for use in uses],
        "control_guidance_start": [use.start / STEPS for use in uses],
        "control_guidance_end": [use.end / STEPS for use in uses],
    }
    result = pipe(
        prompt_embeds=embeddings(model, 1, 11),
        negative_prompt_embeds=embeddings(model, 2, 7) if scale > 1 else None,
        width=WIDTH,
        height=HEIGHT,
        num_inference_steps=STEPS,
        true_cfg_scale=scale,
        latents=drawn_noise(model).to(model.dtype),
        output_type="latent",
        **(options if several else {name: value[0] for name, value in options.items()}),
    ).images
    for picture in pictures:
        picture.close()
    return control_latents, result


def ours(model: Checkpoint, controls: tuple[Control, ...], scale: float) -> torch.Tensor:
    request = RenderRequest("", "", None, WIDTH, HEIGHT, STEPS, Sampler(), scale, 3)
    return denoised(request, model, controls=controls)


CASES: list[tuple[list[dict[str, Any]], float]] = [
    ([{}], 1.0),
    ([{}], 4.0),
    ([{"weight": 0.7}], 4.0),
    ([{"weight": -1.5, "start": 1}], 1.0),
    ([{"start": 1, "end": 2}], 4.0),
    ([{"weight": 0.7, "end": 2}, {"weight": 1.2, "end": 2}], 1.0),
    ([{"end": 2}, {"weight": 0.4, "start": 1}], 4.0),
]


@pytest.fixture(scope="module")
def deep(checkpoint: Checkpoint) -> Checkpoint:
    return deeper(checkpoint, 5)


@pytest.mark.parametrize(("changes", "scale"), CASES, ids=str)
def test_latents(
    deep: Checkpoint,
    weights: Path,
    uses: list[ControlUse],
    monkeypatch: pytest.MonkeyPatch,
    changes: list[dict[str, Any]],
    scale: float,
) -> None:
    check(deep, weights, uses, monkeypatch, changes, scale)


@pytest.mark.slow
def test_latents_in_bfloat16(weights: Path, uses: list[ControlUse], monkeypatch: pytest.MonkeyPatch) -> None:
    model = deeper(load(str(weights), torch.device("cpu"), torch.bfloat16, with_vision=False), 5)
    check(model, weights, uses, monkeypatch, [{"weight": 0.7, "start": 1}], 4.0)


def check(
    model: Checkpoint,
    weights: Path,
    uses: list[ControlUse],
    monkeypatch: pytest.MonkeyPatch,
    changes: list[dict[str, Any]],
    scale: float,
) -> None:
    changed = [
        replace(use, **{"end": STEPS, **change}) for use, change in zip(uses[: len(changes)], changes, strict=True)
    ]
    latents, expected = theirs(model, weights, changed, scale, monkeypatch)
    with torch.inference_mode():
        controls = prepare_controls(changed, WIDTH, HEIGHT, STEPS, LoadedModel(model), PictureReader())
    tolerance = CLOSE[model.dtype]
    for control, each in zip(controls, latents, strict=True):
        assert isinstance(control, Control)
        torch.testing.assert_close(control.control_latents, each, atol=tolerance, rtol=tolerance)
    same = tuple(
        replace(control, control_latents=each)
        for control, each in zip(controls, latents, strict=True)
        if isinstance(control, Control)
    )
    assert torch.equal(ours(model, same, scale), expected)
    assert not torch.equal(ours(model, (), scale), expected)


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_inpainting(
    deep: Checkpoint,
    weights: Path,
    uses: list[ControlUse],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: float,
) -> None:
    """The mask reaches the net as in diffusers' pipeline. From its control latents, our loop gives the same bits."""
    model = deep
    folder = save_controlnet(model, tmp_path / "net", 2, seed=1, extra_condition_channels=4)
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (24, 8, 72, 40))
    net = library_net(folder, torch.float32)
    vae = AutoencoderKLQwenImage.from_pretrained(weights, subfolder="vae")
    pipe: Any = QwenImageControlNetInpaintPipeline(
        scheduler=cast("Any", FlowMatchEulerDiscreteScheduler.from_config(dict(model.scheduler))),
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        transformer=model.transformer,
        controlnet=net,
    )
    pipe.set_progress_bar_config(disable=True)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, *_: self.mode())
    seen: list[torch.Tensor] = []
    forward = net.forward

    def spy(**inputs: Any) -> Any:
        seen.append(inputs["controlnet_cond"])
        return forward(**inputs)

    monkeypatch.setattr(net, "forward", spy)
    with Image.open(uses[0].control_image.path) as picture:
        expected = pipe(
            control_image=picture,
            control_mask=mask,
            prompt_embeds=embeddings(model, 1, 11),
            negative_prompt_embeds=embeddings(model, 2, 7) if scale > 1 else None,
            width=WIDTH,
            height=HEIGHT,
            num_inference_steps=STEPS,
            true_cfg_scale=scale,
            latents=drawn_noise(model).to(model.dtype),
            output_type="latent",
        ).images
    use = replace(uses[0], weights=folder)
    with torch.inference_mode():
        (control,) = prepare_controls(
            [use], WIDTH, HEIGHT, STEPS, LoadedModel(model), PictureReader(), mask=np.asarray(mask, np.float32) / 255
        )
    assert isinstance(control, Control)
    torch.testing.assert_close(control.control_latents, seen[0], atol=1e-4, rtol=1e-4)
    same = replace(control, control_latents=seen[0])
    assert torch.equal(ours(model, (same,), scale), expected)
    assert not torch.equal(ours(model, (), scale), expected)
