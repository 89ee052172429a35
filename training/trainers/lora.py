"""Trains a LoRA for the embedded checkpoint that draws the same prompts as outlines.

PEFT wraps the frozen transformer during training. The result is a file with the names of diffusers. Knows scenes and
the transformer's layers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from peft import LoraConfig, get_peft_model_state_dict
from tqdm import tqdm

from pipelines.catalog.catalog import OUTLINES
from pipelines.models.loading.loader import load
from training.data.captions import random_caption
from training.data.random_scenes import Level, random_scene
from training.trainers.adapters import AdapterSamples, flow_loss, native_grid
from training.trainers.optimizer import trapezoid

RANK = 8
# All Linears of the blocks, by their names in QwenImageTransformer2DModel.
LAYERS = (
    "to_q to_k to_v add_q_proj add_k_proj add_v_proj to_out.0 to_add_out "
    "img_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2"
).split()
_SCENES = Level((1.0, 0.0, 0.0), 0.0, ("medium", "large"))  # small shapes have little room for a hole
_RATE = 3e-3
_DROPPED = 0.1  # guidance subtracts a prediction without a prompt, which has to draw outlines too


@dataclass(frozen=True, slots=True)
class LoraBudget:
    """The length of the training: optimiser steps, samples per step, and number of scenes."""

    steps: int = 500
    batch: int = 40
    scenes: int = 2400


def train_lora(device: torch.device, folder: Path, budget: LoraBudget, seed: int) -> None:
    """Train on the checkpoint in `folder`, and save the file into it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    base = load(str(folder.resolve()), device, torch.float32, with_vision=False)
    scenes = [replace(random_scene(rng, _SCENES), outlined=True) for _ in range(budget.scenes)]
    samples = AdapterSamples(scenes, base, native_grid(folder))

    def next_loss() -> torch.Tensor:
        rows = rng.integers(len(scenes), size=budget.batch).tolist()
        texts = ["" if rng.random() < _DROPPED else random_caption(scenes[row], rng) for row in rows]
        return flow_loss(base, samples.batch(rows, texts))

    fit_lora(base.transformer, folder / OUTLINES, RANK, _RATE, budget.steps, next_loss)


def fit_lora(
    transformer: QwenImageTransformer2DModel,
    file: Path,
    rank: int,
    rate: float,
    steps: int,
    next_loss: Callable[[], torch.Tensor],
) -> None:
    """Train a new LoRA of all linears of the blocks by the loss of each step, and save it in bfloat16."""
    name, layers = file.stem, [str(layer) for layer in LAYERS]
    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=layers), adapter_name=name)
    learned = [weight for weight in transformer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    bar, mean = tqdm(range(steps), desc=name), 1.0
    for step in bar:
        loss = next_loss()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate * trapezoid(step / steps, warmup=0.04)
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        mean = 0.97 * mean + 0.03 * loss.item()
        bar.set_postfix_str(f"loss {mean:.3f}", refresh=False)
    weights = get_peft_model_state_dict(transformer, adapter_name=name)
    QwenImagePipeline.save_lora_weights(
        file.parent, {name: weight.bfloat16().cpu() for name, weight in weights.items()}, weight_name=file.name
    )
