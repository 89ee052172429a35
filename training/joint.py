"""Stage two: transformer and text encoder together, by flow matching, on text-to-image and edits.

Knows pools of encoded samples and the models; knows no pixels.
"""

import json
import math
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
from pipelines.catalog.catalog import Mode
from training.architecture import LAYERS, WIDTH, fresh_text_encoder, fresh_transformer, image_processor, scheduler
from training.dataset import RECIPES, Encoder, Pool, Task, cached_pools
from training.layout import LayoutHead, by_token, shown
from training.optimizer import Average, Optimizer, trapezoid
from training.parallel import average_gradients, rank
from training.text import encode_texts
from training.vae import save

PROGRESS = "training.json"  # in an exported checkpoint: how many steps it has had
INDEX = "model_index.json"  # there too: the classes of its parts, for diffusers

_NO_PROMPT = ("", " ")
_DROPPED = 0.1  # share of samples that learn the unconditional prediction
_ON_THINGS = 3.0  # weight of tokens that show something or must change, against those of plain background
_CHANGED = 0.05  # mean square of the difference between latents, from which on a token counts as changed
_AS_EDIT = 0.85  # share of the edits of one picture under the template of edit; the rest learn that of edit-plus
_LAYOUT_WEIGHT = 0.15
_SAVE_EVERY = 250
_AVERAGED = 200  # steps; over 1000, what the last ones had learnt, such as letters, hardly showed
_WARM_UP = 100  # steps
# Share of each batch that is drawn and encoded anew, in the place of old samples. With none, edits are learnt by heart
# after a dozen epochs: the loss was 0.18 on samples of the pools and 0.24 on others.
_RENEWED = 0.2
_PATCHES_SEEN = (4, 4)  # of a 56 × 56 picture, 14 pixels each
_WIDE_SEEN = {(6, 10): (2, 4), (10, 6): (4, 2)}


@dataclass(frozen=True, slots=True)
class JointBudget:
    """How long to train: optimiser steps, samples a step and process, and the share of the full pools to draw.

    `compiled` blocks take minutes to make and a third less time for each step.
    """

    steps: int = 8350
    batch: int = 40
    pools: float = 1.0
    compiled: bool = False


# Until which share of the run, which tasks in which shares: large single shapes first, edits once shapes exist.
_CURRICULUM: tuple[tuple[float, dict[Task, float]], ...] = (
    (0.08, {"easy": 0.6, "single": 0.4}),
    (0.20, {"easy": 0.2, "single": 0.4, "hard": 0.25, "edit": 0.15}),
    (1.00, {"single": 0.15, "hard": 0.38, "odd": 0.06, "edit": 0.35, "odd edit": 0.03, "combine": 0.03}),
)


class Joint(nn.Module):
    """What is trained together: the text encoder, the transformer, and the layout head that training alone needs."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self.encoder = fresh_text_encoder(tokenizer)
        self.transformer = fresh_transformer()
        self.layout = LayoutHead(WIDTH)
        self._middle: torch.Tensor | None = None
        self.transformer.transformer_blocks[LAYERS // 2 - 1].register_forward_hook(self._keep_middle)

    def _keep_middle(self, module: nn.Module, inputs: Any, outputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        self._middle = outputs[1]

    def losses(
        self, pool: Pool, rows: list[int], texts: list[str], mode: Mode, tokenizer: Qwen2Tokenizer
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The flow-matching loss and the layout loss of some rows of a pool."""
        device = self.transformer.device
        clean = pool.latents[rows].to(device).float()
        references = pool.references[rows].to(device).float().flatten(1, 2)
        seen_grid = _WIDE_SEEN.get(pool.grid, _PATCHES_SEEN)
        embeds, mask = encode_texts(texts, mode, pool.seen[rows].to(device), seen_grid, self.encoder, tokenizer)
        noise = torch.randn_like(clean)
        sigma = noise_levels(len(rows), device)[:, None, None]
        noisy = torch.lerp(clean, noise, sigma)
        shape = (1, *pool.grid)
        predicted = self.transformer(
            hidden_states=torch.cat([noisy, references], dim=1),
            timestep=sigma.flatten(),
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=mask,
            img_shapes=[[shape] * (1 + pool.pictures)] * len(rows),
            return_dict=False,
        )[0][:, : clean.shape[1]]
        told = by_token(pool.labels[rows].to(device))
        telling = shown(told)
        if pool.pictures == 1:  # where a thing was taken away, the target shows nothing
            telling |= (clean - references).square().mean(dim=-1) > _CHANGED
        error = (predicted - (noise - clean)).square().mean(dim=-1)
        assert self._middle is not None
        layout = self.layout.loss(self._middle[:, : clean.shape[1]], told)
        return weighted(error, telling), layout


def train_joint(device: torch.device, folder: Path, budget: JointBudget, seed: int) -> None:
    """Train, or go on from `folder/joint-run.pt`; leaves the whole checkpoint in `folder` in the diffusers layout."""
    torch.manual_seed(seed)
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
    model = Joint(tokenizer).to(device)
    optimizer = Optimizer(model, muon_rate=0.015, adam_rate=2e-3, by_adam=_by_adam)
    average = Average(model, _AVERAGED)
    run, first = folder / "joint-run.pt", 0
    cold = -_WARM_UP  # the step that the optimiser starts at without a past, after weights that have one
    if run.is_file():
        state = torch.load(run, map_location=device)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    elif (folder / PROGRESS).is_file():
        _take_over(model, average, folder)
        first = cold = steps_of(folder)
    vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32)
    encoder = Encoder(SingleFrameVae(vae).to(device), model.encoder)
    pools = cached_pools(folder / f"pools-{rank()}.pt", encoder, (seed, rank()), budget.pools)
    if budget.compiled:
        torch._dynamo.config.recompile_limit = 64  # one form for each kind of sample and length of text
        for block in model.transformer.transformer_blocks:
            block.compile(dynamic=True)
    torch.manual_seed(seed * 1000 + rank() + first)
    rng = np.random.default_rng([seed, rank(), first])
    means = [1.0, 3.0]
    bar = tqdm(range(first, budget.steps), initial=first, total=budget.steps, desc="transformer", disable=rank() > 0)
    for step in bar:
        task, pool = _draw(pools, step / budget.steps, rng)
        rows = rng.integers(len(pool.samples), size=budget.batch).tolist()
        renewed = sorted(set(rows[: math.ceil(_RENEWED * budget.batch)]))
        pool.replace(renewed, encoder.pool(RECIPES[task], pool.grid, len(renewed), rng))
        texts = [
            _NO_PROMPT[int(rng.integers(2))] if rng.random() < _DROPPED else text for text in pool.texts(rows, rng)
        ]
        # On a GPU bfloat16 is fast; a CPU gains nothing from it at these widths.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            flow, layout = model.losses(pool, rows, texts, _mode(pool, rng), tokenizer)
        (flow + _LAYOUT_WEIGHT * layout).backward()
        average_gradients(optimizer.parameters)
        torch.nn.utils.clip_grad_norm_(optimizer.parameters, 1.0)
        optimizer.step(trapezoid(step / budget.steps) * min(1.0, (step + 1 - cold) / _WARM_UP))
        average.update(model, step)
        means = [0.98 * mean + 0.02 * loss.item() for mean, loss in zip(means, (flow, layout), strict=True)]
        bar.set_postfix_str(f"flow {means[0]:.3f} layout {means[1]:.3f}", refresh=False)
        if rank() == 0 and ((step + 1) % _SAVE_EVERY == 0 or step + 1 == budget.steps):
            state = {"model": model.state_dict(), "average": average.model.state_dict(), "step": step + 1}
            save(run, state | {"optimizer": optimizer.state_dict()})
            export(average.model, folder, step + 1)


def steps_of(folder: Path) -> int:
    """How many steps transformer and text encoder in a folder have had."""
    progress = folder / PROGRESS
    return json.loads(progress.read_text())["steps"] if progress.is_file() else 0


def export(model: Joint, folder: Path, step: int) -> None:
    """Save transformer and text encoder beside the VAE and the tokenizer, in bfloat16, with what loading them needs."""
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, subfolder="tokenizer")
    with torch.no_grad():
        fresh = Joint(tokenizer)
        fresh.load_state_dict(model.state_dict())
        fresh.to(torch.bfloat16)
        fresh.transformer.save_pretrained(folder / "transformer")
        fresh.encoder.save_pretrained(folder / "text_encoder")
    _load_in_float32(folder / "text_encoder" / "config.json")
    image_processor().save_pretrained(folder / "processor")
    scheduler().save_pretrained(folder / "scheduler")
    vae = AutoencoderKLQwenImage.from_pretrained(folder, subfolder="vae")
    QwenImagePipeline(scheduler(), vae, fresh.encoder, tokenizer, fresh.transformer).save_config(folder)
    (folder / PROGRESS).write_text(json.dumps({"steps": step}) + "\n")


def _load_in_float32(config: Path) -> None:
    """Name the type that diffusers gives the other parts unless told otherwise: mixed types draw nothing."""
    options = json.loads(config.read_text()) | {"dtype": "float32"}
    config.write_text(json.dumps(options, indent=2, sort_keys=True) + "\n")


def _take_over(model: Joint, average: Average[Joint], folder: Path) -> None:
    """Start from an exported checkpoint, without its optimiser and its layout head."""
    for kind, mine, means in (
        (QwenImageTransformer2DModel, model.transformer, average.model.transformer),
        (Qwen2_5_VLForConditionalGeneration, model.encoder, average.model.encoder),
    ):
        part = "transformer" if kind is QwenImageTransformer2DModel else "text_encoder"
        weights = cast("Any", kind).from_pretrained(folder, subfolder=part, torch_dtype=torch.float32).state_dict()
        mine.load_state_dict(weights)
        means.load_state_dict(weights)


def _draw(pools: dict[Task, list[Pool]], progress: float, rng: np.random.Generator) -> tuple[Task, Pool]:
    """A task by the curriculum, and one of its pools."""
    shares = next(shares for until, shares in _CURRICULUM if progress < until or until == 1.0)
    task = list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
    return task, pools[task][int(rng.integers(len(pools[task])))]


def _mode(pool: Pool, rng: np.random.Generator) -> Mode:
    if pool.pictures == 0:
        return "text_to_image"
    return "edit_plus" if pool.pictures > 1 or rng.random() >= _AS_EDIT else "edit"


def weighted(error: torch.Tensor, telling: torch.Tensor) -> torch.Tensor:
    """The mean of errors [B, tokens], in which the `telling` tokens, bool [B, tokens], count more."""
    weight = torch.where(telling, _ON_THINGS, 1.0)
    return (error * weight).sum() / weight.sum()


def noise_levels(count: int, device: torch.device) -> torch.Tensor:
    """Noise levels [count]: three quarters logit-normal towards high noise, where layout is decided, the rest even."""
    normal = torch.sigmoid(0.3 + 1.1 * torch.randn(count, device=device))
    even = torch.rand(count, device=device)
    return torch.where(torch.rand(count, device=device) < 0.75, normal, even).clamp(1e-3, 1.0)


def _by_adam(name: str) -> bool:
    """Embeddings, modulations, what touches latents, and heads: no hidden matrices in Muon's sense."""
    parts = ("embed_tokens", "_mod.", "img_in", "txt_in", "proj_out", "norm_out", "time_text_embed", "layout")
    return any(part in name for part in parts)
