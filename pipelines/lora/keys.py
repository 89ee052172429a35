"""Maps the tensor names of a LoRA file to modules of the transformer and parts of a delta.

Trainers differ in prefixes, in dots or underscores, and in the names of the parts. This module reads names only, no
numbers, and imports no torch: the API process checks an upload with it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipelines.errors import LoraError

# The Linears of QwenImageTransformer2DModel, of one block and around the blocks.
_BLOCK_LINEARS = (
    "attn.to_q attn.to_k attn.to_v attn.add_q_proj attn.add_k_proj attn.add_v_proj attn.to_out.0 attn.to_add_out "
    "img_mod.1 img_mlp.net.0.proj img_mlp.net.2 txt_mod.1 txt_mlp.net.0.proj txt_mlp.net.2"
).split()
_OUTER_LINEARS = (
    "img_in txt_in norm_out.linear proj_out time_text_embed.timestep_embedder.linear_1 "
    "time_text_embed.timestep_embedder.linear_2"
).split()
# Its norms with weights, which only differences (`.diff`) change.
_BLOCK_NORMS = "attn.norm_q attn.norm_k attn.norm_added_q attn.norm_added_k".split()
_OUTER_NORMS = ["txt_norm"]

# What computes the modulation of the blocks from the timestep.
_MODULATION = re.compile(r"time_text_embed\..+|transformer_blocks\.\d+\.(img|txt)_mod\..+")

_IN_BLOCK = {name.replace(".", "_"): name for name in _BLOCK_LINEARS + _BLOCK_NORMS}
_OUTSIDE = {name.replace(".", "_"): name for name in _OUTER_LINEARS + _OUTER_NORMS}
NORMS = frozenset(_BLOCK_NORMS + _OUTER_NORMS)

# Prefixes of dotted names: diffusers, ComfyUI and ai-toolkit, PEFT, DiffSynth, DistributedDataParallel. A name may
# have several of them.
_PREFIXES = (
    "base_model.model.",
    "transformer.",
    "diffusion_model.",
    "model.",
    "module.",
    "pipe.",
    "dit.",
    "unet.",
)
# Prefixes of names with underscores instead of dots: kohya's scripts, LyCORIS, OneTrainer.
_FLAT_PREFIXES = ("lora_unet_", "lycoris_", "lora_transformer_")
# Names that torch.compile, activation checkpointing and FSDP put around a module, anywhere in a name.
_WRAPPERS = re.compile(r"(?:^|(?<=[._]))_(?:orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module)[._]")
_TEXT_ENCODER = ("lora_te", "text_encoder", "text_model.", "cond_stage_model.")
# Modules of SD, SDXL, SD3, FLUX, HunyuanVideo and Wan that Qwen-Image does not have.
_OTHER_MODEL = re.compile(
    r"(.*[._])?(double_blocks|single_blocks|single_transformer_blocks|joint_blocks|(down|up|input|output)_blocks"
    r"|(mid|middle)_block|cross_attn|attn[12]|ff|ff_context|norm1_context|context_embedder|x_embedder)[._].+"
)

# The endings of a name for each part of a delta. PEFT adds the name of the adapter.
_NAME = r"(\.[^.]+)?"
_ENDINGS = {
    "down": rf"lora_A{_NAME}\.weight|lora[._]down\.weight|lora_linear_layer[._]down\.weight",
    "up": rf"lora_B{_NAME}\.weight|lora[._]up\.weight|lora_linear_layer[._]up\.weight",
    "up_b": rf"lora_B{_NAME}\.bias|lora[._]up\.bias",
    "alpha": r"alpha",
    "magnitude": r"dora_scale|lora_magnitude_vector(\.[^.]+){0,2}",
    **{part: f"lokr_{part}{_NAME}" for part in ("w1", "w2", "w1_a", "w1_b", "w2_a", "w2_b")},
    **{part: f"{part}{_NAME}" for part in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    "oft_vectors": rf"oft_R{_NAME}\.weight",
    "oft_blocks": r"oft_blocks",
    "rescale": r"rescale",
    "diff": r"diff",
    "diff_b": r"diff_b",
}
_KEYS = {part: re.compile(rf"(?P<module>.+?)\.(?:{ending})") for part, ending in _ENDINGS.items()}
# Qwen-Image has 60 blocks. Python refuses to read numbers of thousands of digits.
_BLOCK = re.compile(r"transformer_blocks[._](?P<number>[0-9]{1,4})[._](?P<inner>.+)")

_LOW_RANK = frozenset({"down", "up"})
_HADAMARD = frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"})
_KRONECKER = [
    frozenset(first + second) for first in (["w1"], ["w1_a", "w1_b"]) for second in (["w2"], ["w2_a", "w2_b"])
]
_FACTORED = [_LOW_RANK, _HADAMARD, *_KRONECKER]
_WHOLE_WEIGHTS = [
    *_FACTORED,
    *(weights | {"magnitude"} for weights in _FACTORED),
    _LOW_RANK | {"up_b"},
    frozenset({"oft_vectors"}),
    frozenset({"oft_blocks"}),
    frozenset({"oft_blocks", "rescale"}),
]

Parts = dict[str, str]

_LONGEST_SHOWN = 150  # characters of a name in a message


@dataclass(frozen=True, slots=True)
class LoraNames:
    """The names of a file: module → part (`down`, `up`, `alpha` …) → tensor, and the tensors of a text encoder."""

    modules: Mapping[str, Parts]
    text_encoder: tuple[str, ...]


def check_file(path: Path) -> LoraNames:
    """Read the header of a file and sort its tensor names. Raises `LoraError`."""
    try:
        with safe_open(path, framework="numpy") as file:
            return sort_names(file.keys())
    except (OSError, SafetensorError) as error:
        raise LoraError(f"the file is no safetensors file ({error})") from error


def sort_names(names: Iterable[str]) -> LoraNames:
    """Sort the tensor names of a file by module and part.

    Raises `LoraError` if a name belongs to another model, has an unknown spelling, appears twice in different
    spellings, or lacks its counterpart, or if there are only text-encoder weights.
    """
    modules: dict[str, Parts] = {}
    text_encoder = []
    for name in names:
        bare = _without_prefix(name)
        if bare is None:
            text_encoder.append(name)
            continue
        module, part = _split(name, bare)
        parts = modules.setdefault(module, {})
        if part in parts:
            raise LoraError(f"it holds '{part}' of {module} twice: '{parts[part]}' and '{name}'")
        parts[part] = name
    if not modules:
        only = "only weights of a text encoder" if text_encoder else "no weights"
        raise LoraError(f"it holds {only}")
    for module, parts in modules.items():
        _check_whole(module, frozenset(parts))
    return LoraNames(modules, tuple(text_encoder))


def is_norm(module: str) -> bool:
    """Whether a module is a norm rather than a Linear."""
    block = _BLOCK.fullmatch(module)
    return (block["inner"] if block else module) in NORMS


def changes_modulation(module: str) -> bool:
    """Whether a module is one of those that compute the modulation of the blocks from the timestep."""
    return _MODULATION.fullmatch(module) is not None


def _without_prefix(name: str) -> str | None:
    """A name without the trainers' prefixes and wrappers, or None for a text encoder's."""
    bare = _WRAPPERS.sub("", name)
    while (shorter := _shortened(bare)) != bare:
        bare = shorter
    return None if bare.startswith(_TEXT_ENCODER) else bare


def _shortened(name: str) -> str:
    for prefix in (*_PREFIXES, *_FLAT_PREFIXES):
        name = name.removeprefix(prefix)
    return name


def _split(name: str, bare: str) -> tuple[str, str]:
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    matches = {part: found for part, key in _KEYS.items() if (found := key.fullmatch(bare))}
    if not matches:
        raise LoraError(f"unknown spelling: '{shown}' is no weight of a LoRA, DoRA, LoHa, LoKr, OFT or a difference")
    (part, found), *_ = matches.items()
    module = _module(found["module"])
    if module is None and _OTHER_MODEL.fullmatch(bare):
        raise LoraError(f"it was made for another model: Qwen-Image has no module of '{shown}'")
    if module is None:
        raise LoraError(f"unknown spelling: '{shown}' names no module of Qwen-Image's transformer")
    return module, part


def _module(text: str) -> str | None:
    """The module of a name with dots or underscores, or None."""
    if block := _BLOCK.fullmatch(text):
        inner = _IN_BLOCK.get(block["inner"].replace(".", "_"))
        return inner and f"transformer_blocks.{int(block['number'])}.{inner}"
    return _OUTSIDE.get(text.replace(".", "_"))


def _check_whole(module: str, parts: frozenset[str]) -> None:
    weights = parts - {"alpha", "diff_b"}
    factored = weights in _WHOLE_WEIGHTS
    if is_norm(module):
        usable = parts == {"diff"}
    elif weights in ({"diff"}, set()):  # a bias alone is a delta, an alpha alone is none
        usable = parts <= {"diff", "diff_b"}
    else:
        usable = factored
    if not usable:
        raise LoraError(f"its weights of {module} do not make a delta: {', '.join(sorted(parts))}")
