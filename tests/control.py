"""ControlNets with seeded random weights that show in the picture, for any tiny transformer."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from safetensors.torch import save_file
from torch import nn

from pipelines.models.checkpoint import Checkpoint


def random_controlnet(checkpoint: Checkpoint, layers: int, seed: int, **changes: Any) -> QwenImageControlNetModel:
    """A net that fits the checkpoint's transformer, except for the `changes` of its configuration."""
    fits = {name: checkpoint.transformer.config[name] for name in (
        "patch_size", "in_channels", "out_channels", "attention_head_dim", "num_attention_heads",
        "joint_attention_dim", "axes_dims_rope",
    )}  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = QwenImageControlNetModel(**{**fits, "num_layers": layers, **changes})
        # Also the output layers and the input of the control image, which start at zero and would add nothing.
        _mix(net)
    return cast("QwenImageControlNetModel", net.eval().requires_grad_(False))


def save_controlnet(checkpoint: Checkpoint, folder: Path, layers: int, seed: int, **changes: Any) -> str:
    """Write a net in the diffusers layout, and return its folder."""
    random_controlnet(checkpoint, layers, seed, **changes).save_pretrained(folder)
    return str(folder)


def blockwise_weights(
    checkpoint: Checkpoint, seed: int, *, depth: int | None = None, width: int | None = None, extra: int = 0
) -> dict[str, torch.Tensor]:
    """Random weights by the key table of DiffSynth-Studio's blockwise nets. `extra` channels are those of a mask."""
    config = checkpoint.transformer.config
    blocks = int(config["num_layers"]) if depth is None else depth
    width = width or int(config["num_attention_heads"]) * int(config["attention_head_dim"])
    shapes: dict[str, list[int]] = {"img_in.weight": [width, config["in_channels"] + extra], "img_in.bias": [width]}
    for number in range(blocks):
        block = f"controlnet_blocks.{number}"
        shapes |= {f"{block}.{norm}.weight": [width] for norm in ("x_rms", "y_rms")}
        for linear in ("input_proj", "output_proj"):
            shapes |= {f"{block}.{linear}.weight": [width, width], f"{block}.{linear}.bias": [width]}
    random = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=random) / shape[-1] ** 0.5
        if len(shape) > 1
        else torch.rand(shape, generator=random)
        for name, shape in shapes.items()
    }


def save_blockwise(checkpoint: Checkpoint, path: Path, seed: int, **changes: Any) -> str:
    """Write a blockwise net as a single file, and return its path."""
    save_file(blockwise_weights(checkpoint, seed, **changes), path)
    return str(path)


def deeper(checkpoint: Checkpoint, blocks: int, *, zero_cond_t: bool = False) -> Checkpoint:
    """The checkpoint with a random transformer of that many blocks."""
    config = dict(checkpoint.transformer.config) | {"num_layers": blocks, "zero_cond_t": zero_cond_t}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        transformer = cast("nn.Module", QwenImageTransformer2DModel.from_config(config))
        _mix(transformer)
    transformer = transformer.to(checkpoint.dtype).eval().requires_grad_(False)
    return replace(checkpoint, transformer=cast("Any", transformer))


def _mix(model: nn.Module) -> None:
    """Make the weights large enough for tokens to affect each other, as in `stand_in`."""
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=(2.0 if "to_" in name else 1.0) / weight.shape[1] ** 0.5)
