"""Random adapters for the stand-in transformer, with the names of each trainer."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import nn

from accel.weights.quantized.base import QuantizedLinear

BLOCK = "transformer_blocks.{}."
MODULES = [
    f"transformer_blocks.{number}.{name}"
    for number in (0, 1)
    for name in ("attn.to_q", "attn.to_out.0", "attn.add_k_proj", "img_mlp.net.0.proj", "txt_mlp.net.2", "img_mod.1")
] + ["img_in", "proj_out", "norm_out.linear", "time_text_embed.timestep_embedder.linear_1"]
RANK = 4

Adapter = dict[str, tuple[torch.Tensor, torch.Tensor]]  # module → down [rank, in], up [out, rank]
State = dict[str, torch.Tensor]


def linear_of(transformer: nn.Module, name: str) -> nn.Linear:
    """A Linear layer, or a quantized one, which has its sides too."""
    module = transformer.get_submodule(name)
    assert isinstance(module, nn.Linear | QuantizedLinear)
    return cast("nn.Linear", module)


def random_adapter(transformer: nn.Module, seed: int = 1, rank: int = RANK) -> Adapter:
    """An adapter with a visible effect, on Linears of every kind."""
    generator = torch.Generator().manual_seed(seed)
    adapter = {}
    for name in MODULES:
        linear = linear_of(transformer, name)
        down = torch.randn(rank, linear.in_features, generator=generator) / linear.in_features**0.5
        adapter[name] = down, torch.randn(linear.out_features, rank, generator=generator) * 0.3
    return adapter


def named(
    adapter: Adapter, prefix: str = "", down: str = "lora_A.weight", up: str = "lora_B.weight", sep: str = "."
) -> State:
    """The tensors of an adapter under one kind of names."""
    state = {}
    for name, (a, b) in adapter.items():
        module = prefix + name.replace(".", sep)
        state |= {f"{module}.{down}": a, f"{module}.{up}": b}
    return state


def wrapped(state: State, wrapper: str) -> State:
    """The same tensors, named as if each block had been wrapped in another module."""
    return {re.sub(r"(transformer_blocks\.\d+)\.", rf"\1.{wrapper}.", name): tensor for name, tensor in state.items()}


def with_alpha(state: State, scale: float) -> State:
    """The same adapter at another alpha, made `1 / scale` stronger so that its effect is the same."""
    scaled = {}
    for name, tensor in state.items():
        is_up = ".lora_B" in name or ".lora_up" in name
        scaled[name] = tensor / scale if is_up else tensor
        if is_up:
            module = name.split(".lora_")[0]
            scaled[f"{module}.alpha"] = torch.tensor(scale * tensor.shape[1])
    return scaled


KOHYA = {"down": "lora_down.weight", "up": "lora_up.weight"}

DIALECTS: dict[str, Callable[[Adapter], State]] = {
    "diffusers": lambda a: named(a, "transformer."),
    "lightning": lambda a: with_alpha(named(a, **KOHYA), 2.0),
    "comfyui": lambda a: named(a, "diffusion_model."),
    "comfyui down and up": lambda a: with_alpha(named(a, "diffusion_model.", **KOHYA), 0.5),
    "kohya": lambda a: with_alpha(named(a, "lora_unet_", **KOHYA, sep="_"), 0.25),
    "peft adapter name": lambda a: named(a, "", "lora_A.default.weight", "lora_B.default.weight"),
    "diffusers and adapter name": lambda a: named(a, "transformer.", "lora_A.mine.weight", "lora_B.mine.weight"),
    "no prefix": lambda a: named(a),
    "no prefix, down and up": lambda a: named(a, **KOHYA),
    "peft": lambda a: named(a, "base_model.model."),
    "diffusers and alpha": lambda a: with_alpha(named(a, "transformer."), 2.0),
    "lycoris": lambda a: with_alpha(named(a, "lycoris_", **KOHYA, sep="_"), 0.5),
    "base and diffusion model": lambda a: named(a, "base_model.model.diffusion_model."),
    "onetrainer": lambda a: with_alpha(named(a, "lora_transformer_", **KOHYA, sep="_"), 0.5),
    "compiled": lambda a: named(a, "_orig_mod."),
    "compiled, kohya": lambda a: with_alpha(named(a, "lora_unet__orig_mod_", **KOHYA, sep="_"), 0.5),
    "compiled and peft": lambda a: named(a, "base_model.model._orig_mod.transformer."),
    "data parallel": lambda a: named(a, "module."),
    "diffsynth": lambda a: named(a, "pipe.dit.", "lora_A.default.weight", "lora_B.default.weight"),
    "diffsynth, dit": lambda a: named(a, "dit."),
    "unet": lambda a: named(a, "unet."),
    "checkpointed": lambda a: wrapped(named(a, "transformer."), "_checkpoint_wrapped_module"),
    "checkpointed and sharded": lambda a: wrapped(named(a), "_fsdp_wrapped_module._checkpoint_wrapped_module"),
    "adapter name with hyphens": lambda a: named(a, "", "lora_A.my-style v2.weight", "lora_B.my-style v2.weight"),
    "linear layers": lambda a: named(a, "unet.", "lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
}


def write(path: Path, state: State, metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path, metadata)
    return path


def fused(transformer: nn.Module, *deltas: dict[str, torch.Tensor]) -> Any:
    """A copy with changed weights, which defines the effect of an adapter."""
    changed = copy.deepcopy(transformer)
    with torch.no_grad():
        for delta in deltas:
            for name, change in delta.items():
                changed.get_parameter(name).add_(change)
    return changed


def multiplied(adapter: Adapter, weight: float = 1.0) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": weight * up @ down for name, (down, up) in adapter.items()}


def velocity(transformer: Any) -> torch.Tensor:
    """One forward on fixed inputs."""
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        return transformer(
            hidden_states=torch.randn(1, 12, 64, generator=generator),
            timestep=torch.tensor([0.7]),
            encoder_hidden_states=torch.randn(1, 7, 32, generator=generator),
            encoder_hidden_states_mask=None,
            img_shapes=[[(1, 3, 4)]],
            return_dict=False,
        )[0]
