"""Stage two: trains transformer and text encoder together by flow matching, on text-to-image and edits.

Knows buffers of encoded samples and the models; knows no pixels.
"""

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from torch import nn
from tqdm import tqdm
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.catalog import VOCABULARY, Mode
from training.data.layout import LayoutHead, foreground_tokens, group_by_token
from training.data.prompts import drop_some, pick_mode
from training.data.texts import Kind
from training.data.vocabulary import save_vocabulary
from training.trainers.architecture import (
    LAYERS,
    WIDTH,
    fresh_text_encoder,
    fresh_transformer,
    image_processor,
    scheduler,
    vision_grid,
)
from training.trainers.dataset import DATA_RECIPES, Buffer, Encoder, Task, load_or_build_buffers
from training.trainers.optimizer import Average, Optimizer, trapezoid
from training.trainers.parallel import average_gradients, rank
from training.trainers.text import encode_texts
from training.trainers.vae import save_atomically

PROGRESS = "training.json"  # in an exported checkpoint: its number of steps
INDEX = "model_index.json"  # there too: the classes of its parts, for diffusers
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "processor", "scheduler")

FOREGROUND_WEIGHT = 3.0  # weight of tokens that show a thing or must change, relative to plain background
CHANGED = 0.05  # a token counts as changed from this mean square difference of latents
LAYOUT_WEIGHT = 0.15
_SAVE_EVERY = 250
_AVERAGED = 200  # steps; with 1000, what the last steps had learnt, such as letters, hardly showed
_WARM_UP = 100  # steps
_HEAD_ALONE = 150  # steps in which a new layout head on trained weights learns alone: its first guesses teach nothing
# Share of each batch that new samples replace. Without them, edits are memorised after a dozen epochs: the loss was
# 0.18 on samples of the buffers and 0.24 on others.
_RENEWED = 0.2


@dataclass(frozen=True, slots=True)
class JointBudget:
    """The length of the training: optimiser steps, samples per step and process, and share of the full training set.

    `compiled` blocks take a minute or more to compile, and then save a twelfth of the time of each step.
    """

    steps: int = 12_550
    batch: int = 40
    share: float = 1.0
    compiled: bool = False


# The end of a phase as a share of the run, and the shares of its tasks. Large single shapes come first, edits later.
_CURRICULUM: tuple[tuple[float, dict[Task, float]], ...] = (
    (0.08, {"easy": 0.6, "single": 0.4}),
    (0.20, {"easy": 0.2, "single": 0.4, "hard": 0.25, "edit": 0.15}),
    (1.00, {"single": 0.15, "hard": 0.38, "odd": 0.06, "edit": 0.35, "odd edit": 0.03, "combine": 0.03}),
)


class JointModel(nn.Module):
    """The jointly trained models: text encoder, transformer, and the layout head, which only training needs."""

    def __init__(self, tokenizer: Qwen2Tokenizer, layers: int = LAYERS) -> None:
        super().__init__()
        self.encoder = fresh_text_encoder(tokenizer)
        self.transformer = fresh_transformer(layers)
        self.layout = LayoutHead(WIDTH)
        self._middle: torch.Tensor | None = None
        self.transformer.transformer_blocks[layers // 2 - 1].register_forward_hook(self._save_middle)

    @property
    def layers(self) -> int:
        """The number of the transformer's blocks."""
        return len(self.transformer.transformer_blocks)

    def predict(
        self,
        noisy: torch.Tensor,
        references: torch.Tensor,
        sigma: torch.Tensor,
        prompts: tuple[torch.Tensor, torch.Tensor],
        grid: tuple[int, int],
    ) -> torch.Tensor:
        """Return the velocities of noisy latents at sigmas [B]. `references` are [B, pictures, tokens, 64]."""
        return self.transformer(
            hidden_states=torch.cat([noisy, references.flatten(1, 2)], dim=1),
            timestep=sigma,
            encoder_hidden_states=prompts[0],
            encoder_hidden_states_mask=prompts[1],
            img_shapes=[[(1, *grid)] * (1 + references.shape[1])] * len(noisy),
            return_dict=False,
        )[0][:, : noisy.shape[1]]

    def layout_loss(self, labels: torch.Tensor, *, head_alone: bool = False) -> torch.Tensor:
        """Return the layout loss of the last prediction. Takes labels grouped by token.

        `head_alone` keeps its gradient from the transformer.
        """
        assert self._middle is not None
        middle, self._middle = self._middle, None
        middle = middle[:, : labels.shape[1]]
        return self.layout.loss(middle.detach() if head_alone else middle, labels)

    def _save_middle(self, module: nn.Module, inputs: Any, outputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._middle = outputs[1]

    def losses(
        self,
        buffer: Buffer,
        rows: list[int],
        texts: list[str],
        mode: Mode,
        tokenizer: Qwen2Tokenizer,
        *,
        head_alone: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the flow-matching loss and the layout loss of some rows of a buffer.

        `head_alone` keeps the gradient of the layout loss from the transformer.
        """
        device = self.transformer.device
        clean = buffer.latents[rows].to(device).float()
        references = buffer.references[rows].to(device).float()
        vision, patches = buffer.vision[rows].to(device), vision_grid(buffer.grid)
        embeds, mask = encode_texts(texts, mode, vision, patches, self.encoder, tokenizer)
        noise = torch.randn_like(clean)
        sigma = sample_sigmas(len(rows), device)
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        predicted = self.predict(noisy, references, sigma, (embeds, mask), buffer.grid)
        labels = group_by_token(buffer.labels[rows].to(device))
        emphasized = foreground_tokens(labels)
        if buffer.pictures == 1:  # where a thing was removed, the target shows background
            emphasized |= (clean - references[:, 0]).square().mean(dim=-1) > CHANGED
        error = (predicted - (noise - clean)).square().mean(dim=-1)
        return weighted_mean(error, emphasized), self.layout_loss(labels, head_alone=head_alone)


def train_joint(device: torch.device, folder: Path, budget: JointBudget, seed: int) -> None:
    """Train, or resume from `folder/joint-run.pt`. Saves the checkpoint into `folder` in the diffusers layout."""
    torch.manual_seed(seed)
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
    model = JointModel(tokenizer).to(device)
    optimizer = Optimizer(model, muon_rate=0.015, adam_rate=2e-3, by_adam=by_adam)
    average = Average(model, _AVERAGED)
    run, first = folder / "joint-run.pt", 0
    cold = -_HEAD_ALONE  # the step at which a new optimiser starts on trained weights, or one before any start
    if run.is_file():
        state = torch.load(run, map_location=device)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    elif (folder / PROGRESS).is_file():
        _load_exported(model, average, folder)
        first = cold = trained_steps(folder)
    vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32)
    encoder = Encoder(SingleFrameVae(vae).to(device), model.encoder)
    buffers = load_or_build_buffers(folder / f"buffers-{rank()}.pt", encoder, (seed, rank()), budget.share)
    if budget.compiled:
        torch._dynamo.config.recompile_limit = 64  # one form for each kind of sample and length of text
        for block in model.transformer.transformer_blocks:
            block.compile(dynamic=True)
    torch.manual_seed(seed * 1000 + rank() + first)
    rng = np.random.default_rng([seed, rank(), first])
    means = [1.0, 3.0]
    bar = tqdm(range(first, budget.steps), initial=first, total=budget.steps, desc="transformer", disable=rank() > 0)
    for step in bar:
        task, buffer = _sample_buffer(buffers, step / budget.steps, rng)
        rows = rng.integers(len(buffer.samples), size=budget.batch).tolist()
        renewed = sorted(set(rows[: math.ceil(_RENEWED * budget.batch)]))
        buffer.replace(renewed, encoder.make_buffer(DATA_RECIPES[task], buffer.grid, len(renewed), rng))
        texts = drop_some(buffer.texts(rows, rng), rng)
        # On a GPU bfloat16 is fast; a CPU gains nothing from it at these widths.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            flow, layout = model.losses(
                buffer,
                rows,
                texts,
                pick_mode(buffer.pictures, rng),
                tokenizer,
                head_alone=step - cold < _HEAD_ALONE,
            )
        (flow + LAYOUT_WEIGHT * layout).backward()
        average_gradients(optimizer.parameters)
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(trapezoid(step / budget.steps) * min(1.0, (step + 1 - cold) / _WARM_UP))
        average.update(model, step)
        means = [0.98 * mean + 0.02 * loss.item() for mean, loss in zip(means, (flow, layout), strict=True)]
        bar.set_postfix_str(f"flow {means[0]:.3f} layout {means[1]:.3f}", refresh=False)
        if rank() == 0 and ((step + 1) % _SAVE_EVERY == 0 or step + 1 == budget.steps):
            state = {"model": model.state_dict(), "average": average.model.state_dict(), "step": step + 1}
            save_atomically(run, state | {"optimizer": optimizer.state_dict()})
            export(average.model, folder, step + 1)


def trained_steps(folder: Path) -> int:
    """Return how many steps the transformer and text encoder in a folder have been trained."""
    progress = folder / PROGRESS
    return json.loads(progress.read_text())["steps"] if progress.is_file() else 0


def export(model: JointModel, folder: Path, step: int, texts: Kind = "capitals", **facts: int) -> None:
    """Save transformer and text encoder in bfloat16 beside the VAE and the tokenizer, with all files for loading.

    `texts` are what was trained on. `facts` go beside the number of steps.
    """
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
    with torch.no_grad():
        fresh = JointModel(tokenizer, model.layers)
        fresh.load_state_dict(model.state_dict())
        fresh.to(torch.bfloat16)
        fresh.transformer.save_pretrained(folder / "transformer")
        fresh.encoder.save_pretrained(folder / "text_encoder")
    _load_in_float32(folder / "text_encoder" / "config.json")
    image_processor().save_pretrained(folder / "processor")
    scheduler().save_pretrained(folder / "scheduler")
    vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae")
    QwenImagePipeline(scheduler(), vae, fresh.encoder, tokenizer, fresh.transformer).save_config(folder)
    save_vocabulary(folder / VOCABULARY, texts)
    (folder / PROGRESS).write_text(json.dumps({"steps": step, **facts}) + "\n")


def copy_weights(source: Path, target: Path) -> None:
    """Replace the parts of an exported checkpoint by those of another. Adapters are no parts."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        shutil.rmtree(target / part, ignore_errors=True)
        shutil.copytree(source / part, target / part)
    for file in (INDEX, PROGRESS, VOCABULARY):
        shutil.copy(source / file, target / file)


def _load_in_float32(config: Path) -> None:
    """Set the dtype that diffusers loads the other parts in by default. A pipeline cannot run with mixed dtypes."""
    options = json.loads(config.read_text()) | {"dtype": "float32"}
    config.write_text(json.dumps(options, indent=2, sort_keys=True) + "\n")


def _load_exported(model: JointModel, average: Average[JointModel], folder: Path) -> None:
    """Load the weights of an exported checkpoint, which has no optimiser state and no layout head."""
    for kind, mine, means in (
        (QwenImageTransformer2DModel, model.transformer, average.model.transformer),
        (Qwen2_5_VLForConditionalGeneration, model.encoder, average.model.encoder),
    ):
        part = "transformer" if kind is QwenImageTransformer2DModel else "text_encoder"
        weights = cast("Any", kind).from_pretrained(folder, subfolder=part, torch_dtype=torch.float32).state_dict()
        mine.load_state_dict(weights)
        means.load_state_dict(weights)


def _sample_buffer(buffers: dict[Task, list[Buffer]], progress: float, rng: np.random.Generator) -> tuple[Task, Buffer]:
    """Draw a task of the curriculum, and one of its buffers."""
    shares = next(shares for until, shares in _CURRICULUM if progress < until or until == 1.0)
    task = list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
    return task, buffers[task][int(rng.integers(len(buffers[task])))]


def weighted_mean(error: torch.Tensor, emphasized: torch.Tensor) -> torch.Tensor:
    """Return the mean of errors [B, tokens] with a higher weight for `emphasized` tokens, bool [B, tokens]."""
    weight = torch.where(emphasized, FOREGROUND_WEIGHT, 1.0)
    return (error * weight).sum() / weight.sum()


def sample_sigmas(count: int, device: torch.device) -> torch.Tensor:
    """Draw sigmas [count]: three quarters logit-normal towards high noise, where layout forms, the rest uniform."""
    normal = torch.sigmoid(0.3 + 1.1 * torch.randn(count, device=device))
    even = torch.rand(count, device=device)
    return torch.where(torch.rand(count, device=device) < 0.75, normal, even).clamp(1e-3, 1.0)


def by_adam(name: str) -> bool:
    """Return whether Adam trains a weight, not Muon: embeddings, modulations, heads and what touches latents."""
    parts = ("embed_tokens", "_mod.", "img_in", "txt_in", "proj_out", "norm_out", "time_text_embed", "layout")
    return any(part in name for part in parts)
