"""Transformers in the layouts of other programs, made from one that is saved in diffusers' folder layout.

The names of the tensors are those of the real files: ComfyUI's single files, and converters' GGUF files.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
FP8_MAX = torch.finfo(torch.float8_e4m3fn).max


def tiny_transformer(seed: int = 5, **config: object) -> QwenImageTransformer2DModel:
    """One block of the real head size, 256 wide, so that rows are whole blocks of every type of GGUF."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"num_layers": 1, "num_attention_heads": 2, "joint_attention_dim": 256}
        return QwenImageTransformer2DModel(**(sizes | config)).eval()  # pyright: ignore[reportArgumentType]


def state_of(transformer: torch.nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in transformer.state_dict().items()}


def is_quantized(name: str, tensor: torch.Tensor) -> bool:
    """Whether converters quantize a tensor: the large matrices of the blocks."""
    return name.startswith(("transformer_blocks.", "controlnet_blocks.")) and tensor.ndim == 2


def with_prefix(state: Mapping[str, torch.Tensor], prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def plain_fp8(state: State) -> State:
    """`qwen_image_fp8_e4m3fn.safetensors`: every matrix is cast, without a scale."""
    return {
        name: tensor.to(torch.float8_e4m3fn if tensor.ndim == 2 else torch.bfloat16) for name, tensor in state.items()
    }


def scaled(
    state: State, suffix: str = "scale_weight", *, by_row: bool = False, activations: str | None = None
) -> State:
    """fp8 matrices of the blocks with a scale beside each."""
    made: State = {}
    for name, tensor in state.items():
        if not is_quantized(name, tensor):
            made[name] = tensor.to(torch.bfloat16)
            continue
        largest = tensor.abs().amax(dim=1, keepdim=True) if by_row else tensor.abs().amax()
        scale = largest.float() / FP8_MAX
        made[name] = (tensor / scale).to(torch.float8_e4m3fn)
        layer = name.removesuffix(".weight")
        made[f"{layer}.{suffix}"] = scale
        if activations is not None:
            made[f"{layer}.{activations}"] = torch.tensor(0.5)
    return made


def scaled_fp8(state: State) -> State:
    """ComfyUI's former layout: a marker for the file, and `scale_weight` and `scale_input` beside each matrix."""
    marker = torch.zeros(2, dtype=torch.float8_e4m3fn)
    return scaled(state, activations="scale_input") | {"scaled_fp8": marker}


def comfy_quant(state: State, kind: str = "float8_e4m3fn") -> State:
    """ComfyUI's present layout: `weight_scale`, `input_scale`, and a note in JSON beside each matrix."""
    note = torch.frombuffer(bytearray(json.dumps({"format": kind}).encode()), dtype=torch.uint8)
    made = scaled(state, "weight_scale", activations="input_scale")
    layers = [name.removesuffix(".weight_scale") for name in made if name.endswith(".weight_scale")]
    return made | {f"{layer}.comfy_quant": note.clone() for layer in layers}


def quantization_metadata(state: State, kind: str = "float8_e4m3fn") -> dict[str, str]:
    layers = {name.removesuffix(".weight"): {"format": kind} for name in state if name.endswith("to_q.weight")}
    return {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


def dequantized(state: State) -> State:
    """What scaled tensors stand for, in float32."""
    made: State = {}
    for name, tensor in state.items():
        layer = name.removesuffix(".weight")
        scale = next(
            (state[f"{layer}.{key}"] for key in ("scale_weight", "weight_scale") if f"{layer}.{key}" in state), 1
        )
        if name.endswith(("_scale", ".scale_weight", ".scale_input", ".comfy_quant", "scaled_fp8")):
            continue
        made[name] = tensor.float() * (scale if name.endswith(".weight") else 1)
    return made


def save(state: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> Path:
    save_file(
        {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}, path, metadata
    )
    return path


def save_gguf(state: State, path: Path, kind: str, architecture: str | None = "qwen_image") -> State:
    """Write a GGUF file whose matrices of the blocks are of one type. Returns what it stands for, in float32."""
    writer = gguf.GGUFWriter(path, architecture or "")  # which writes no empty one
    quantization = gguf.GGMLQuantizationType[kind]
    stands_for: State = {}
    for name, tensor in state.items():
        values = tensor.float().numpy()
        if not is_quantized(name, tensor):
            writer.add_tensor(name, values)
            stands_for[name] = tensor.float()
            continue
        blocks = quantize(values, quantization)
        writer.add_tensor(name, blocks, raw_dtype=quantization)
        stands_for[name] = torch.from_numpy(gguf.quants.dequantize(blocks, quantization).reshape(values.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stands_for


def quantize(values: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """The blocks of some values. The package packs no K-quants, so theirs are random bytes with small scales."""
    try:
        return gguf.quants.quantize(values, kind)
    except NotImplementedError:
        _, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = np.random.default_rng(7).integers(0, 256, (values.size // 256, size), dtype=np.uint8)
        at = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind.name]
        for offset in at:
            blocks[:, offset : offset + 2] = np.array([1e-4], dtype=np.float16).view(np.uint8)
        return blocks.reshape(values.shape[0], -1)
