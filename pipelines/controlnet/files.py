"""Loads a ControlNet from a diffusers folder, a hub repository, or a single safetensors file.

The names of its tensors say what it is: a net of InstantX, or a blockwise one of DiffSynth-Studio. FP8 weights are
read with their scales. Knows files and networks; knows no request and no control image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel

from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.hub.download import fetch_file
from pipelines.controlnet.blockwise import BlockwiseControlNet
from pipelines.errors import LoadError, first_line
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.formats.components.controlnet import controlnet_kind
from pipelines.models.formats.containers.weight_files import open_weights
from pipelines.models.formats.fill import build_empty, fill
from pipelines.models.formats.place import Placement
from pipelines.models.formats.scales import WeightEntry, pair_scales
from pipelines.models.loading.opened_files import model_folder

ControlNet = QwenImageControlNetModel | BlockwiseControlNet

# The one file of a folder of DiffSynth-Studio, which has no configuration.
_DIFFSYNTH_FILE = "model.safetensors"


def load_net(weights: str, checkpoint: Checkpoint) -> ControlNet:
    """Load a net in the checkpoint's dtype, on its device. Raises `LoadError`."""
    path = find_single_file(weights) or model_folder(ComponentFiles(weights))
    try:
        return _load(path, checkpoint)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
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


def _load(path: Path, checkpoint: Checkpoint) -> ControlNet:
    if path.is_file() and path.suffix != ".safetensors":
        raise ValueError(f"'{path.name}' is no safetensors file")
    files = open_weights(path)
    weights = pair_scales(files.tensors, files.metadata)
    kind, config = controlnet_kind(weights), files.config
    placement = Placement(checkpoint.device, checkpoint.dtype, "bf16")
    if kind == "blockwise":
        net = build_empty(lambda: _blockwise(weights))
    elif config is None:
        net = build_empty(lambda: _instantx(weights, checkpoint))
    else:
        net = build_empty(lambda: cast("QwenImageControlNetModel", QwenImageControlNetModel.from_config(dict(config))))
    return fill(net, weights, placement, lambda read: None).requires_grad_(False)


def _blockwise(weights: Mapping[str, WeightEntry]) -> BlockwiseControlNet:
    width, channels = _shape(weights, "img_in.weight")
    return BlockwiseControlNet(_count(weights, "controlnet_blocks"), channels, width)


def _instantx(weights: Mapping[str, WeightEntry], checkpoint: Checkpoint) -> QwenImageControlNetModel:
    """An empty net, with the configuration that the shapes of the tensors tell. They do not tell the axes of RoPE."""
    ours = checkpoint.transformer.config
    width, channels = _shape(weights, "img_in.weight")
    (head,) = _shape(weights, "transformer_blocks.0.attn.norm_q.weight")
    return QwenImageControlNetModel(
        patch_size=ours["patch_size"],
        in_channels=channels,
        out_channels=ours["out_channels"],
        num_layers=_count(weights, "transformer_blocks"),
        attention_head_dim=head,
        num_attention_heads=width // head,
        joint_attention_dim=_shape(weights, "txt_in.weight")[1],
        axes_dims_rope=ours["axes_dims_rope"],
        extra_condition_channels=_shape(weights, "controlnet_x_embedder.weight")[1] - channels,
    )


def _shape(weights: Mapping[str, WeightEntry], name: str) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(f"its weight {name} is missing")
    return weights[name].shape


def _count(weights: Mapping[str, WeightEntry], room: str) -> int:
    """The number of blocks in a list of modules."""
    return len({name.split(".")[1] for name in weights if name.startswith(f"{room}.")})
