"""Fits the linear map from the embedded VAE's latents to RGB, which previews are drawn with.

`python -m training.latent_rgb` prints the table `embedded` of `pipelines/previews/latent_rgb.toml`. It fits each latent
pixel to the mean colour of its 8 × 8 pixels by least squares.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.latents import encode_pixels, unpack
from pipelines.models.loading.loader import load
from pipelines.previews.latent_rgb import LatentRgb
from training.data.random_scenes import random_scene
from training.data.scenes import draw_scene
from training.trainers.vae import to_pixels

SCENES, SIDE, SEED = 64, 256, 0


def samples(vae: SingleFrameVae, scenes: int, seed: int, *, held_out: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent pixels [N, channels] of random scenes, and the mean colour [N, 3] in −1…1 of each."""
    rng = np.random.default_rng(seed)
    latents, colours = [], []
    for _ in range(scenes):
        pixels = to_pixels(draw_scene(random_scene(rng, of_held_out=held_out), SIDE, SIDE))[None]
        factor = vae.spatial_compression_ratio
        with torch.inference_mode():
            tokens = encode_pixels(vae, pixels)
        side = SIDE // factor
        latents.append(unpack(tokens, (1, side // 2, side // 2))[0, :, 0].flatten(1).T)
        colours.append(F.avg_pool2d(pixels, factor)[0].flatten(1).T)
    return torch.cat(latents), torch.cat(colours)


def fit(latents: torch.Tensor, colours: torch.Tensor) -> LatentRgb:
    """The map of the least squared error."""
    with_bias = torch.cat((latents, torch.ones(len(latents), 1)), dim=1).double()
    solution = torch.linalg.lstsq(with_bias, colours.double()).solution
    *factors, bias = (tuple(round(float(value), 4) for value in row) for row in solution)
    return LatentRgb(tuple(factors), bias)  # type: ignore[arg-type]  # rows of three


def table(rgb: LatentRgb) -> str:
    """The map as a table of TOML."""
    rows = "".join(f"    {list(row)},\n" for row in rgb.factors)
    return f"[embedded]\nbias = {list(rgb.bias)}\nfactors = [\n{rows}]\n"


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(prog="python -m training.latent_rgb", description=__doc__)
    parser.add_argument("--folder", type=Path, default=EMBEDDED_FOLDER, help="of the checkpoint")
    vae = load(str(parser.parse_args().folder), torch.device("cpu"), torch.float32, with_vision=False).vae
    print(table(fit(*samples(vae, SCENES, SEED, held_out=False))), end="")  # noqa: T201


if __name__ == "__main__":
    main()
