"""Loads a ControlNet from a diffusers folder, a hub repository, or a single safetensors file.

The names of a file's tensors say what it is: a net of InstantX, or a blockwise one of DiffSynth-Studio. Nothing but
headers is read before that is known. Knows files and networks; knows no request and no control image.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from safetensors import SafetensorError, safe_open
from torch import nn

from pipelines.catalog.hub.download import fetch_file
from pipelines.controlnet.blockwise import BlockwiseControlNet
from pipelines.errors import LoadError, first_line
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.formats.components.controlnet import controlnet_kind
from pipelines.models.loading.loader import load_network

ControlNet = QwenImageControlNetModel | BlockwiseControlNet

# The one file of a folder of DiffSynth-Studio, which has no configuration.
_DIFFSYNTH_FILE = "model.safetensors"


def load_net(weights: str, checkpoint: Checkpoint) -> ControlNet:
    """Load a net in the checkpoint's dtype, on its device. Raises `LoadError`."""
    path = find_single_file(weights)
    if path is None:
        return load_network(QwenImageControlNetModel, weights, checkpoint.device, checkpoint.dtype)
    try:
        return _load_file(path, checkpoint)
    except (OSError, SafetensorError, ValueError) as error:
        raise LoadError(f"Weights '{weights}' cannot be loaded as a ControlNet: {first_line(error)}") from error


def find_single_file(weights: str) -> Path | None:
    """The one safetensors file that some weights are, downloaded if need be. None for diffusers' layout.

    Raises `LoadError` if a file of the hub cannot be had.
    """
    path = Path(weights)
    if path.is_file():
        return path
    if path.is_dir():
        alone = path / _DIFFSYNTH_FILE
        return alone if alone.is_file() and not (path / "config.json").exists() else None
    if path.suffix != ".safetensors":
        return None
    try:
        return fetch_file(path)
    except (OSError, ValueError) as error:
        raise LoadError(f"Weights '{weights}': {first_line(error)}.") from error


def _load_file(path: Path, checkpoint: Checkpoint) -> ControlNet:
    if path.suffix != ".safetensors":
        raise ValueError(f"'{path.name}' is no safetensors file")
    with safe_open(path, framework="pt", device=str(checkpoint.device)) as file:
        names = set(file.keys())
        make = _blockwise if controlnet_kind(names) == "blockwise" else _instantx
        with init_empty_weights():
            net = make(file, names, checkpoint)
        wanted = net.state_dict().keys()
        if missing := sorted(wanted - names):
            raise ValueError(f"{len(missing)} of its weights are missing, such as {missing[0]}")
        if surplus := sorted(names - wanted):
            raise ValueError(f"there is no place for {len(surplus)} of its weights, such as {surplus[0]}")
        for name in names:  # one by one, so that the file is never in memory twice
            _put(net, name, file.get_tensor(name).to(checkpoint.dtype))
    return net.eval().requires_grad_(False)


def _blockwise(file: Any, names: set[str], checkpoint: Checkpoint) -> BlockwiseControlNet:
    width, channels = _shape(file, "img_in.weight")
    return BlockwiseControlNet(_count(names, "controlnet_blocks"), channels, width)


def _instantx(file: Any, names: set[str], checkpoint: Checkpoint) -> QwenImageControlNetModel:
    """An empty net, with the configuration that the shapes of the tensors tell. They do not tell the axes of RoPE."""
    ours = checkpoint.transformer.config
    width, channels = _shape(file, "img_in.weight")
    (head,) = _shape(file, "transformer_blocks.0.attn.norm_q.weight")
    return QwenImageControlNetModel(
        patch_size=ours["patch_size"],
        in_channels=channels,
        out_channels=ours["out_channels"],
        num_layers=_count(names, "transformer_blocks"),
        attention_head_dim=head,
        num_attention_heads=width // head,
        joint_attention_dim=_shape(file, "txt_in.weight")[1],
        axes_dims_rope=ours["axes_dims_rope"],
        extra_condition_channels=_shape(file, "controlnet_x_embedder.weight")[1] - channels,
    )


def _shape(file: Any, name: str) -> list[int]:
    if name not in file.keys():  # noqa: SIM118  a safetensors file is no mapping
        raise ValueError(f"its weight {name} is missing")
    return file.get_slice(name).get_shape()


def _count(names: set[str], room: str) -> int:
    """The number of blocks in a list of modules."""
    return len({name.split(".")[1] for name in names if name.startswith(f"{room}.")})


def _put(net: nn.Module, name: str, value: torch.Tensor) -> None:
    """Replace an empty parameter. Raises `ValueError` if the shapes differ."""
    module, _, parameter = name.rpartition(".")
    owner = net.get_submodule(module)
    expected = owner.get_parameter(parameter).shape
    if value.shape != expected:
        raise ValueError(f"its weight {name} is {list(value.shape)}, and {list(expected)} fits")
    owner.register_parameter(parameter, nn.Parameter(value, requires_grad=False))
