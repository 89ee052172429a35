"""The names that llama.cpp gives to the tensors of a Qwen2.5-VL, and those of transformers 5 for them.

llama.cpp splits two weights of the vision tower: the attention's joint projection into three, and the first
convolution into its two frames. Imports no torch.
"""

import re
from collections.abc import Mapping

from pipelines.models.formats.containers.headers import TensorEntry
from pipelines.models.formats.scales import AnyEntry, JoinedEntry, WeightEntry

TEXT_ARCHITECTURE = "qwen2vl"  # of Qwen2-VL and of Qwen2.5-VL

_TEXT = {"token_embd": "embed_tokens", "output_norm": "norm"}
_TEXT_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_VISION = {
    "v.patch_embd": "patch_embed.proj",
    "v.post_ln": "merger.ln_q",
    "mm.0": "merger.mlp.0",
    "mm.2": "merger.mlp.2",
}
_VISION_BLOCK = {
    "ln1": "norm1",
    "ln2": "norm2",
    "attn_qkv": "attn.qkv",
    "attn_out": "attn.proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"^(?:v\.)?blk\.(\d+)\.(\w+)\.(weight|bias)$")
_SPLIT = re.compile(r"^v\.blk\.(\d+)\.attn_([qkv])\.(weight|bias)$")
_LOGITS = "output.weight"
_SECOND_FRAME = "v.patch_embd.weight.1"


def language_names(tensors: Mapping[str, TensorEntry]) -> dict[str, TensorEntry]:
    """The tensors of a language model. Those that transformers has no name for keep theirs; the logits' is left out."""
    return {_language_name(name): tensor for name, tensor in tensors.items() if name != _LOGITS}


def vision_weights(tensors: Mapping[str, TensorEntry]) -> dict[str, AnyEntry]:
    """The weights of an mmproj file, with the split ones joined."""
    weights: dict[str, AnyEntry] = {}
    split: dict[str, dict[str, WeightEntry]] = {}
    for name, tensor in tensors.items():
        if name == _SECOND_FRAME:
            continue
        if (found := _SPLIT.match(name)) is not None:
            whole = f"model.visual.blocks.{found[1]}.attn.qkv.{found[3]}"
            split.setdefault(whole, {})[found[2]] = WeightEntry(tensor)
        else:
            weights[_vision_name(name)] = WeightEntry(tensor)
    for whole, parts in split.items():
        weights[whole] = JoinedEntry(tuple(parts[each] for each in "qkv" if each in parts))
    if _SECOND_FRAME in tensors:
        frames = (WeightEntry(tensors[name]) for name in ("v.patch_embd.weight", _SECOND_FRAME) if name in tensors)
        weights["model.visual.patch_embed.proj.weight"] = JoinedEntry(tuple(frames), axis=2, stacked=True)
    return weights


def _language_name(name: str) -> str:
    if (block := _BLOCK.match(name)) is not None and block[2] in _TEXT_BLOCK:
        return f"model.language_model.layers.{block[1]}.{_TEXT_BLOCK[block[2]]}.{block[3]}"
    return _outside(name, _TEXT, "model.language_model")


def _vision_name(name: str) -> str:
    if (block := _BLOCK.match(name)) is not None and block[2] in _VISION_BLOCK:
        return f"model.visual.blocks.{block[1]}.{_VISION_BLOCK[block[2]]}.{block[3]}"
    return _outside(name, _VISION, "model.visual")


def _outside(name: str, names: Mapping[str, str], room: str) -> str:
    module, _, part = name.rpartition(".")
    return f"{room}.{names[module]}.{part}" if module in names else name
