"""Trains a ControlNet for the embedded checkpoint that turns Canny edges into filled shapes.

Knows scenes, their edges and the class of the net.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from PIL import Image
from tqdm import tqdm

from pipelines.catalog.catalog import EDGES
from pipelines.controlnet.preprocessors import preprocess
from pipelines.models.loading.loader import load
from training.data.captions import random_caption
from training.data.random_scenes import Level, pick_other, random_scene
from training.data.scenes import PLACES, SHAPES, SIZES, Scene, draw_scene
from training.trainers.adapters import AdapterSamples, flow_loss, native_grid
from training.trainers.architecture import TOKEN
from training.trainers.optimizer import Optimizer, trapezoid

BLOCKS = 2
_SCENES = Level((0.6, 0.3, 0.1), 0.1)
_EDGE_SIDES = (128, 256, 512)  # pixels: a control image may be larger than the rendered image, and is scaled to it
_MISNAMED, _DROPPED = 0.5, 0.15  # shares of samples


@dataclass(frozen=True, slots=True)
class ControlNetBudget:
    """The length of the training: optimiser steps, samples per step, and number of scenes."""

    steps: int = 500
    batch: int = 40
    scenes: int = 2400


def fresh_controlnet(transformer: QwenImageTransformer2DModel) -> QwenImageControlNetModel:
    """Make a net that starts as the transformer's first blocks and adds nothing yet."""
    config = transformer.config
    net = cast(
        "QwenImageControlNetModel",
        QwenImageControlNetModel.from_transformer(
            transformer,
            num_layers=BLOCKS,
            attention_head_dim=config["attention_head_dim"],
            num_attention_heads=config["num_attention_heads"],
        ),
    )
    net.txt_norm.load_state_dict(transformer.txt_norm.state_dict())  # from_transformer leaves it out
    return net


def draw_edges(scene: Scene, side: int) -> Image.Image:
    """Draw the Canny edges of a scene with the server's own preprocessor, white on black."""
    return preprocess(Image.fromarray(draw_scene(scene, side, side)), "canny")


def train_controlnet(device: torch.device, folder: Path, budget: ControlNetBudget, seed: int) -> None:
    """Train on the checkpoint in `folder`, and save the net into it in the diffusers layout."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    base = load(str(folder.resolve()), device, torch.float32, with_vision=False)
    scenes = [random_scene(rng, _SCENES) for _ in range(budget.scenes)]
    grid = native_grid(folder)
    samples = AdapterSamples(scenes, base, grid, lambda scene: _control_image(scene, grid, rng))
    net = fresh_controlnet(base.transformer)
    torch.nn.Module.to(net, device)
    optimizer = Optimizer(net, muon_rate=0.008, adam_rate=3e-3, by_adam=_by_adam)
    bar, mean = tqdm(range(budget.steps), desc="ControlNet"), 1.0
    for step in bar:
        rows = rng.integers(len(scenes), size=budget.batch).tolist()
        batch = samples.batch(rows, [_misleading_caption(scenes[row], rng) for row in rows])
        residuals = net(
            hidden_states=batch.noisy,
            controlnet_cond=batch.control_latents,
            timestep=batch.sigma,
            encoder_hidden_states=batch.embeds,
            encoder_hidden_states_mask=batch.mask,
            img_shapes=batch.shapes,
            return_dict=False,
        )
        loss = flow_loss(base, batch, residuals)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(trapezoid(step / budget.steps, warmup=0.04))
        mean = 0.97 * mean + 0.03 * loss.item()
        bar.set_postfix_str(f"flow {mean:.3f}", refresh=False)
    torch.nn.Module.to(net, torch.bfloat16)
    net.save_pretrained(folder / EDGES)


def _control_image(scene: Scene, grid: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    side = int(rng.choice(_EDGE_SIDES))
    return np.asarray(draw_edges(scene, side).resize((grid[1] * TOKEN, grid[0] * TOKEN), Image.Resampling.LANCZOS))


def _misleading_caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption with right colours and often wrong shapes, sizes and places, which only the control image shows."""
    chance = rng.random()
    if chance < _DROPPED:
        return ""
    if chance < _DROPPED + _MISNAMED:
        things = (
            replace(
                thing,
                shape=pick_other(rng, SHAPES, thing.shape),
                size=pick_other(rng, list(SIZES)),
                place=pick_other(rng, list(PLACES)),
            )
            for thing in scene.things
        )
        scene = replace(scene, things=tuple(things))
    return random_caption(scene, rng)


def _by_adam(name: str) -> bool:
    """Whether Adam trains a weight, not Muon: those that touch latents or start at zero, embeddings, modulations."""
    parts = ("_mod.", "img_in", "txt_in", "time_text_embed", "controlnet_")
    return any(part in name for part in parts)
