"""Whether the tensors of a LoRA file fit the transformer of a model, by its configuration.

Reads shapes, and no numbers. Imports no torch: the API process checks an upload with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.hub.cache import local_folder
from pipelines.errors import LoraError
from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import read_json

Shape = tuple[int, ...]

# What the configuration of Qwen-Image says.
_DEFAULTS = {
    "num_layers": 60,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "joint_attention_dim": 3584,
    "in_channels": 64,
    "out_channels": 16,
    "patch_size": 2,
}
_TIME_CHANNELS = 256
_ATTENTION = "to_q to_k to_v add_q_proj add_k_proj add_v_proj to_out.0 to_add_out".split()
_HEAD_NORMS = "norm_q norm_k norm_added_q norm_added_k".split()


@dataclass(frozen=True, slots=True)
class TransformerShapes:
    """The shapes of the weights of one transformer, by the names of its modules: outputs and inputs of a Linear."""

    blocks: int
    weights: Mapping[str, Shape]

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> "TransformerShapes":
        """Those of a configuration. What it does not say is as in Qwen-Image."""
        config = {**_DEFAULTS, **config}
        head, text, channels = config["attention_head_dim"], config["joint_attention_dim"], config["in_channels"]
        width = config["num_attention_heads"] * head
        weights: dict[str, Shape] = {
            "img_in": (width, channels),
            "txt_in": (width, text),
            "txt_norm": (text,),
            "norm_out.linear": (2 * width, width),
            "proj_out": (config["patch_size"] ** 2 * config["out_channels"], width),
            "time_text_embed.timestep_embedder.linear_1": (width, _TIME_CHANNELS),
            "time_text_embed.timestep_embedder.linear_2": (width, width),
        }
        block: dict[str, Shape] = {f"attn.{name}": (width, width) for name in _ATTENTION}
        block |= {f"attn.{name}": (head,) for name in _HEAD_NORMS}
        for stream in ("img", "txt"):
            block[f"{stream}_mod.1"] = (6 * width, width)
            block[f"{stream}_mlp.net.0.proj"] = (4 * width, width)
            block[f"{stream}_mlp.net.2"] = (width, 4 * width)
        for number in range(config["num_layers"]):
            weights |= {f"transformer_blocks.{number}.{name}": shape for name, shape in block.items()}
        return cls(config["num_layers"], weights)


def served_shapes(entries: Sequence[ModelEntry]) -> tuple[TransformerShapes, ...]:
    """The transformers of some models, each once: of those whose weights are not here yet, Qwen-Image's."""
    found: list[TransformerShapes] = []
    for entry in entries:
        shapes = TransformerShapes.of_config(_config(local_folder(entry.files.weights, entry.files.replaced)))
        if shapes not in found:
            found.append(shapes)
    return tuple(found)


def check_fits_one(modules: Mapping[str, Mapping[str, Shape]], models: Sequence[TransformerShapes]) -> None:
    """Raise `LoraError` if a file fits none of the models. `modules` has the shape of each part of each module."""
    reasons = []
    for model in models:
        reason = next(_misfits(modules, model), None)
        if reason is None:
            return
        reasons.append(reason)
    raise LoraError(f"it fits none of the served models: {reasons[0]}")


def _config(folder: Path | None) -> Mapping[str, Any]:
    try:
        return {} if folder is None else read_json(folder / "transformer" / "config.json")
    except FormatError:
        return {}


def _misfits(modules: Mapping[str, Mapping[str, Shape]], model: TransformerShapes) -> Iterator[str]:
    for module, parts in modules.items():
        weight = model.weights.get(module)
        if weight is None:
            yield f"there is no {module} in {model.blocks} blocks"
        elif not all(shape in _legal(part, weight) for part, shape in _whole(parts).items()):
            told = ", ".join(f"{part} {list(shape)}" for part, shape in parts.items())
            yield f"its weights of {module} are {told}, and the module has {list(weight)}"


def _whole(parts: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes that depend on the module: those of differences, of biases, and of products of factors."""
    found = {part: parts[part] for part in ("diff", "diff_b", "up_b") if part in parts}
    for up, down in (("up", "down"), ("hada_w1_a", "hada_w1_b"), ("hada_w2_a", "hada_w2_b")):
        if up in parts and down in parts:
            found[f"{up} {down}"] = (parts[up][0], parts[down][-1])
    factors = [
        parts[name] if name in parts else (parts[f"{name}_a"][0], parts[f"{name}_b"][-1])
        for name in ("w1", "w2")
        if name in parts or f"{name}_a" in parts
    ]
    if len(factors) == 2 and all(len(factor) == 2 for factor in factors):  # a Kronecker product
        found["w1 w2"] = (factors[0][0] * factors[1][0], factors[0][1] * factors[1][1])
    return found


def _legal(part: str, weight: Shape) -> tuple[Shape, ...]:
    return (weight[:1],) if part in ("diff_b", "up_b") else (weight,)
