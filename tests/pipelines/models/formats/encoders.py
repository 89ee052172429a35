"""VAEs and text encoders in the layouts of other programs, made from the state of a network of the library.

The names of the tensors are those of the real files: Wan's own code, ComfyUI, and llama.cpp.
"""

import re
from pathlib import Path

import gguf
import torch

from tests.pipelines.models.formats.layouts import FP8_MAX, State

_RESIDUAL = {"norm1": "0", "conv1": "2", "norm2": "3", "conv2": "6"}
_WAN = {
    "quant_conv.": "conv1.",
    "post_quant_conv.": "conv2.",
    "encoder.conv_in.": "encoder.conv1.",
    "decoder.conv_in.": "decoder.conv1.",
    "encoder.norm_out.": "encoder.head.0.",
    "encoder.conv_out.": "encoder.head.2.",
    "decoder.norm_out.": "decoder.head.0.",
    "decoder.conv_out.": "decoder.head.2.",
}
LLAMA = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def wan_name(name: str, layers: int = 1) -> str:
    """The name of a tensor of diffusers' VAE in Wan's files, with `layers` residual blocks in a level."""
    for diffusers, wan in _WAN.items():
        if name.startswith(diffusers):
            return wan + name.removeprefix(diffusers)
    name = name.replace("encoder.down_blocks.", "encoder.downsamples.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"middle.{2 * int(found[1])}", name)
    name = name.replace("mid_block.attentions.0", "middle.1")
    name = re.sub(
        r"up_blocks\.(\d)\.(?:resnets\.(\d)|upsamplers\.0)",
        lambda found: f"upsamples.{int(found[1]) * (layers + 2) + int(found[2] or layers + 1)}",
        name,
    )
    name = re.sub(r"\.(norm1|conv1|norm2|conv2)\.", lambda found: f".residual.{_RESIDUAL[found[1]]}.", name)
    return name.replace("conv_shortcut", "shortcut")


def comfy_name(name: str) -> str:
    """The name of a tensor of transformers 5 in ComfyUI's files, which is that of transformers 4."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def in_a_layer(name: str) -> bool:
    return "language_model.layers." in name and name.endswith("proj.weight")


def fp8_scaled(state: State) -> State:
    """`qwen_2.5_vl_7b_fp8_scaled.safetensors`: fp8 in the layers of the language model, the rest as it is."""
    made: State = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in state.items():
        comfy = comfy_name(name)
        if not in_a_layer(name):
            made[comfy] = tensor
            continue
        scale = tensor.abs().amax().float() / FP8_MAX
        made[comfy] = (tensor / scale).to(torch.float8_e4m3fn)
        made[comfy.replace(".weight", ".scale_weight")] = scale
        made[comfy.replace(".weight", ".scale_input")] = torch.tensor(0.5)
    return made


def stands_for(made: State, state: State) -> State:
    """What the tensors of `fp8_scaled` stand for, under the names of `state`."""
    return {
        name: made[comfy_name(name)].float() * made[comfy_name(name).replace(".weight", ".scale_weight")]
        if in_a_layer(name)
        else tensor
        for name, tensor in state.items()
    }


def save_language_gguf(state: State, path: Path, kind: str = "F32", architecture: str = "qwen2vl") -> State:
    """Write the language model, the layers quantized. Returns the state that the file stands for."""
    stood = dict(state)
    writer = gguf.GGUFWriter(path, architecture)
    quantization = gguf.GGMLQuantizationType[kind]
    for name, tensor in state.items():
        if name.startswith("model.visual."):
            continue
        values = tensor.float().numpy()
        if not in_a_layer(name):
            writer.add_tensor(llama_name(name), values)
            continue
        blocks = gguf.quants.quantize(values, quantization)
        writer.add_tensor(llama_name(name), blocks, raw_dtype=quantization)
        stood[name] = torch.from_numpy(gguf.quants.dequantize(blocks, quantization).reshape(values.shape).copy())
    _write(writer)
    return stood


def llama_name(name: str) -> str:
    if name == "lm_head.weight":
        return "output.weight"
    name = name.replace("model.language_model.embed_tokens.", "token_embd.")
    name = name.replace("model.language_model.norm.", "output_norm.")
    if (found := re.match(r"model\.language_model\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)) is None:
        return name
    return f"blk.{found[1]}.{LLAMA[found[2]]}.{found[3]}"


def save_mmproj(state: State, path: Path, projector: str = "qwen2.5vl_merger") -> Path:
    """Write the vision tower as llama.cpp does: the joint projection in three, the first convolution in two."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("clip.projector_type", projector)
    inner = {"norm1": "ln1", "norm2": "ln2", "attn.proj": "attn_out"}
    for name, tensor in state.items():
        if not name.startswith("model.visual."):
            continue
        short = name.removeprefix("model.visual.")
        block = re.match(r"blocks\.(\d+)\.(.+)\.(weight|bias)$", short)
        if short == "patch_embed.proj.weight":
            writer.add_tensor("v.patch_embd.weight", tensor[:, :, 0].contiguous().numpy())
            writer.add_tensor("v.patch_embd.weight.1", tensor[:, :, 1].contiguous().numpy())
        elif block is not None and block[2] == "attn.qkv":
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                writer.add_tensor(f"v.blk.{block[1]}.attn_{letter}.{block[3]}", part.contiguous().numpy())
        elif block is not None:
            writer.add_tensor(f"v.blk.{block[1]}.{inner.get(block[2]) or LLAMA[block[2]]}.{block[3]}", tensor.numpy())
        else:
            short = short.replace("merger.ln_q.", "v.post_ln.").replace("merger.mlp.", "mm.")
            writer.add_tensor(short, tensor.numpy())
    _write(writer)
    return path


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
