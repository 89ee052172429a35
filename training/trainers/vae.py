"""Stage one: trains the VAE on flat scenes, with one latent pixel for 8 × 8 pixels, as the real one.

It is trained as the two-dimensional network that a single frame reduces it to (`accel.weights.single_frame`), then
written back into the class of the real weights. Knows pixels and latents; knows no captions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage, QwenImageRMS_norm
from PIL import Image
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from accel.weights.single_frame import SingleFrameVae
from training.data.random_scenes import Level, random_scene
from training.data.scenes import draw_scene
from training.trainers.optimizer import Average, Optimizer, trapezoid
from training.trainers.parallel import average_gradients, rank

LATENT_CHANNELS = 16
CONFIG: dict[str, Any] = {
    "base_dim": 12,
    "z_dim": LATENT_CHANNELS,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 1,
    "temperal_downsample": [False, False, False],  # the class's own spelling
}
CROP = 64
_CROWDED = Level((0.1, 0.3, 0.6), 0.6)
_NOISE = 0.12  # of the latents' standard deviation, so that inexact latents still decode well
_SAVE_EVERY = 250


@dataclass(frozen=True, slots=True)
class VaeBudget:
    """The length of the training: optimiser steps, crops per step and process, scenes to measure the latents on."""

    steps: int = 1800
    batch: int = 8
    measured: int = 256


def train_vae(device: torch.device, folder: Path, budget: VaeBudget, seed: int) -> None:
    """Train, or resume from `folder/vae-run.pt`. Saves `folder/vae/` in the diffusers layout."""
    torch.manual_seed(seed)
    model = fold_for_training(_fresh()).to(device)
    optimizer = Optimizer(model, muon_rate=0.02, adam_rate=2e-3, by_adam=_touches_pixels)
    average = Average(model, 300)
    run, first = folder / "vae-run.pt", 0
    if run.is_file():
        state = torch.load(run, map_location=device)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    crops = random_crops(np.random.default_rng([seed, rank(), first]), budget.batch)
    bar = tqdm(range(first, budget.steps), initial=first, total=budget.steps, desc="VAE", disable=rank() > 0)
    for step in bar:
        pixels = next(crops).to(device)
        loss = _loss(model, pixels.contiguous(memory_format=torch.channels_last))
        loss.backward()
        average_gradients(optimizer.parameters)
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(trapezoid(step / budget.steps))
        average.update(model, step)
        if rank() == 0 and (step % 50 == 0):
            bar.set_postfix_str(f"loss {loss.item():.4f}")
        if rank() == 0 and ((step + 1) % _SAVE_EVERY == 0 or step + 1 == budget.steps):
            state = {"model": model.state_dict(), "average": average.model.state_dict(), "step": step + 1}
            save_atomically(run, state | {"optimizer": optimizer.state_dict()})
    if rank() == 0:
        _export(average.model, folder / "vae", device, budget.measured)


def save_atomically(path: Path, state: object) -> None:
    """Write a checkpoint; an interruption leaves the previous one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    torch.save(state, draft)
    draft.replace(path)


def psnr(vae: SingleFrameVae, side: int, *, scenes: int = 64, seed: int = 1) -> float:
    """Return the mean PSNR in dB of encoding and decoding held-out scenes of side × side pixels."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(scenes):
        pixels = to_pixels(draw_scene(random_scene(rng, of_held_out=True), side, side))
        with torch.inference_mode():
            back = vae.decode(vae.encode(pixels[None, :, None]))[0, :, 0]
        values.append(-10 * math.log10(((back - pixels) / 2).square().mean().item() + 1e-12))
    return sum(values) / len(values)


def to_pixels(picture: np.ndarray) -> torch.Tensor:
    """Convert uint8 [H, W, 3] to float [3, H, W] in −1…1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 127.5 - 1


def random_crops(rng: np.random.Generator, batch: int) -> Iterator[torch.Tensor]:
    """Yield batches [batch, 3, CROP, CROP] from scenes of several sizes. A few are blurred or have soft colours."""
    while True:
        crops: list[torch.Tensor] = []
        while len(crops) < batch:
            picture = _soft_colours(rng) if rng.random() < 0.06 else _scene(rng)
            for _ in range(2):
                top, left = (int(rng.integers(0, size - CROP + 1)) for size in picture.shape[:2])
                crops.append(to_pixels(picture[top : top + CROP, left : left + CROP]))
        yield torch.stack(crops[:batch])


def _scene(rng: np.random.Generator) -> np.ndarray:
    side = int(rng.choice([64, 96, 128, 128, 128, 192, 256]))
    picture = draw_scene(random_scene(rng, _CROWDED), side, side)
    return degrade(picture, rng) if rng.random() < 0.08 else picture


def degrade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a picture: scale it down to an eighth or less, and up again."""
    height, width = picture.shape[:2]
    factor = rng.uniform(8, 14)
    small = Image.fromarray(picture).resize((round(width / factor), round(height / factor)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def _soft_colours(rng: np.random.Generator) -> np.ndarray:
    """Smooth random colours, which bring the training data a little closer to photographs."""
    cells = int(rng.integers(2, 9))
    small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC))


def _loss(model: SingleFrameVae, pixels: torch.Tensor) -> torch.Tensor:
    latents = model.encode(pixels.unsqueeze(2))
    spread = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
    noisy = latents + _NOISE * spread * torch.randn_like(latents)
    back = model.decoder(model.post_quant_conv(noisy)).squeeze(2)
    edges = F.l1_loss(back.diff(dim=-1), pixels.diff(dim=-1)) + F.l1_loss(back.diff(dim=-2), pixels.diff(dim=-2))
    # The last term keeps the latents from growing until the noise does not matter.
    return F.l1_loss(back, pixels) + F.mse_loss(back, pixels) + 0.5 * edges + 1e-4 * latents.square().mean()


def _fresh() -> AutoencoderKLQwenImage:
    """Make the VAE. The class's own initialisation cannot be trained: its fan-in counts unused temporal slices."""
    vae = AutoencoderKLQwenImage(**CONFIG)
    for name, weight in vae.named_parameters():
        if weight.ndim >= 4:
            fan_in = weight.shape[1] * weight.shape[-1] * weight.shape[-2]
            nn.init.normal_(weight, std=fan_in**-0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    return vae


def fold_for_training(vae: AutoencoderKLQwenImage) -> SingleFrameVae:
    """Fold the VAE to two dimensions and disable its attention, so that it works equally at every size."""
    model = SingleFrameVae(vae).requires_grad_(True)
    for module in model.modules():
        if isinstance(module, QwenImageRMS_norm):
            module.forward = partial(_norm, module)
    for part in (model.encoder, model.decoder):
        for name, parameter in part.named_parameters():
            if "attentions" in name:
                parameter.requires_grad_(False)
                if "proj" in name:
                    nn.init.zeros_(parameter)
    return model


def _norm(module: QwenImageRMS_norm, x: torch.Tensor) -> torch.Tensor:
    return _RootMeanSquare.apply(x, module.gamma)


class _RootMeanSquare(torch.autograd.Function):
    """The VAE's norm over channels with a closed-form gradient. Autograd spent half of the training time in it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:  # pyright: ignore
        inverse = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min_(1e-12).reciprocal_()
        inverse *= x.shape[1] ** 0.5
        ctx.save_for_backward(x, gamma, inverse)
        return (x * inverse).mul_(gamma)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # pyright: ignore
        x, gamma, inverse = ctx.saved_tensors
        unit = x * inverse
        by_gamma = (grad * unit).sum(dim=[d for d in range(grad.ndim) if d != 1], keepdim=True)[0]
        inner = grad * gamma
        along = torch.linalg.vecdot(inner, unit, dim=1).unsqueeze(1) / x.shape[1]
        return inner.addcmul_(unit, along, value=-1).mul_(inverse), by_gamma


def _touches_pixels(name: str) -> bool:
    return name in ("encoder.conv_in.conv.weight", "decoder.conv_out.conv.weight")


def unfold(trained: SingleFrameVae, **statistics: Any) -> AutoencoderKLQwenImage:
    """Make the class of the real weights from the trained weights, put into the one temporal slice that images use."""
    vae = AutoencoderKLQwenImage(**CONFIG, **statistics)
    folded = trained.state_dict()
    for name, weight in vae.state_dict().items():
        module, _, kind = name.rpartition(".")
        live = folded.get(f"{module}.conv.{kind}", folded.get(name))
        weight.zero_()
        if live is not None:
            (weight[:, :, -1] if weight.ndim == 5 else weight).copy_(live)
    with torch.no_grad():  # the variance, which is never sampled
        vae.quant_conv.weight[LATENT_CHANNELS:] = 0
        assert vae.quant_conv.bias is not None
        vae.quant_conv.bias[LATENT_CHANNELS:] = -6
    return vae


@torch.inference_mode()
def _export(model: SingleFrameVae, folder: Path, device: torch.device, scenes: int) -> None:
    """Measure the latents' mean and standard deviation over scenes, and save in the diffusers layout in bfloat16."""
    rng = np.random.default_rng(2)
    pixels = torch.stack([to_pixels(draw_scene(random_scene(rng), 128, 128)) for _ in range(scenes)])
    latents = torch.cat([model.encode(some.to(device).unsqueeze(2)) for some in pixels.split(16)])
    mean, std = latents.mean(dim=(0, 2, 3, 4)).tolist(), latents.std(dim=(0, 2, 3, 4)).tolist()
    vae = unfold(model, latents_mean=mean, latents_std=std)
    nn.Module.to(vae, torch.bfloat16)
    vae.save_pretrained(folder)
