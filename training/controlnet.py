"""A ControlNet for the embedded checkpoint: Canny edges become filled shapes.

Knows scenes, their edges and the net's class.
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
from pipelines.models.loader import load
from training.captions import caption
from training.dataset import SQUARE, TOKEN
from training.frozen import Samples, flow_loss
from training.optimizer import Optimizer, trapezoid
from training.sampling import Level, other, random_scene
from training.scenes import PLACES, SHAPES, SIZES, Scene, draw

BLOCKS = 2
_SCENES = Level((0.6, 0.3, 0.1), 0.1)
_EDGES_FOUND_AT = (128, 256, 512)  # pixels: a guide may be larger than what is drawn, and is then scaled to it
_MISNAMED, _DROPPED = 0.5, 0.15  # shares of samples


@dataclass(frozen=True, slots=True)
class ControlNetBudget:
    """How long to train: optimiser steps, samples a step, and different scenes."""

    steps: int = 500
    batch: int = 40
    scenes: int = 2400


def fresh_controlnet(transformer: QwenImageTransformer2DModel) -> QwenImageControlNetModel:
    """A net that starts as the transformer's first blocks and adds nothing yet."""
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


def edges(scene: Scene, side: int) -> Image.Image:
    """A scene's Canny edges as the server's own preprocessing finds them, white on black."""
    return preprocess(Image.fromarray(draw(scene, side, side)), "canny")


def train_controlnet(device: torch.device, folder: Path, budget: ControlNetBudget, seed: int) -> None:
    """Train on the checkpoint in `folder`, and leave the net in it in the diffusers layout."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    base = load(str(folder.resolve()), device, torch.float32, with_vision=False)
    scenes = [random_scene(rng, _SCENES) for _ in range(budget.scenes)]
    samples = Samples(scenes, base, lambda scene: _guide(scene, rng))
    net = fresh_controlnet(base.transformer)
    torch.nn.Module.to(net, device)
    optimizer = Optimizer(net, muon_rate=0.008, adam_rate=3e-3, by_adam=_by_adam)
    bar, mean = tqdm(range(budget.steps), desc="ControlNet"), 1.0
    for step in bar:
        rows = rng.integers(len(scenes), size=budget.batch).tolist()
        batch = samples.batch(rows, [_text(scenes[row], rng) for row in rows])
        residuals = net(
            hidden_states=batch.noisy,
            controlnet_cond=batch.guides,
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


def _guide(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    side = int(rng.choice(_EDGES_FOUND_AT))
    return np.asarray(edges(scene, side).resize((SQUARE[1] * TOKEN, SQUARE[0] * TOKEN), Image.Resampling.LANCZOS))


def _text(scene: Scene, rng: np.random.Generator) -> str:
    """A caption whose colours are right; often it misleads about shapes, sizes and places, and only the guide tells."""
    chance = rng.random()
    if chance < _DROPPED:
        return ""
    if chance < _DROPPED + _MISNAMED:
        things = (
            replace(
                thing,
                shape=other(rng, SHAPES, thing.shape),
                size=other(rng, list(SIZES)),
                place=other(rng, list(PLACES)),
            )
            for thing in scene.things
        )
        scene = replace(scene, things=tuple(things))
    return caption(scene, rng)


def _by_adam(name: str) -> bool:
    """Whether Adam moves it rather than Muon: what touches latents or starts at zero, embeddings and modulations."""
    parts = ("_mod.", "img_in", "txt_in", "time_text_embed", "controlnet_")
    return any(part in name for part in parts)
