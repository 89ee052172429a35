"""From a folder in the diffusers layout, or a hub name, to networks on a device.

Real and embedded weights go through the same code. Knows no request.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors import SafetensorError
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.kernels.vector_math import choose_kernels
from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.hub.download import fetch_folder
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.templates import CONTROL_TOKENS
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint

N = TypeVar("N", bound=torch.nn.Module)

# Buffers that older releases of the libraries saved. The models calculate them, so they change nothing.
_COMPUTED_BUFFERS = re.compile(r"(^|\.)(position_ids|rotary(_pos)?_emb\.inv_freq)$")
# The tensors beside quantized weights: scaled fp8, compressed-tensors, ComfyUI, bitsandbytes.
_QUANTIZED = re.compile(
    r"(^|\.)(scaled_fp8|scale_(weight|input)|(weight|input)_scale|comfy_quant|absmax|quant_(map|state\b.*))$"
)
# Switches of a transformer's configuration that need an input which is never given.
_UNSUPPORTED_CONFIG = {
    "use_additional_t_cond": "these are weights of Qwen-Image-Layered, which is not supported",
    "use_layer3d_rope": "these are weights of Qwen-Image-Layered, which is not supported",
    "guidance_embeds": "weights with distilled guidance (guidance_embeds) are not supported",
}


def load(weights: str, device: torch.device, dtype: torch.dtype, *, with_vision: bool) -> Checkpoint:
    """Load every part of a diffusers folder, or of a hub repository. Raises `LoadError`."""
    weights = _local_folder(weights)
    choose_kernels()
    with _part(weights, "transformer") as part:
        _check_config(weights, part)
        transformer = _to_device(_complete(QwenImageTransformer2DModel, weights, part, torch_dtype=dtype), device)
    with _part(weights, "vae") as part:
        vae = _to_device(SingleFrameVae(_complete(AutoencoderKLQwenImage, weights, part, torch_dtype=dtype)), device)
    with _part(weights, "text_encoder") as part:
        text_encoder = _to_device(_complete(Qwen2_5_VLForConditionalGeneration, weights, part, dtype=dtype), device)
    with _part(weights, "tokenizer") as part:
        tokenizer = _tokenizer(weights, part)
    with _part(weights, "processor") as part:
        image_processor = _image_processor(weights, part, required=with_vision)
    with _part(weights, "scheduler") as part:
        scheduler = cast("dict[str, Any]", FlowMatchEulerDiscreteScheduler.load_config(weights, subfolder=part))
    return Checkpoint(
        transformer=transformer,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        image_processor=image_processor,
        scheduler=MappingProxyType(scheduler),
        device=device,
        dtype=dtype,
    )


def load_network(kind: type[N], weights: str, device: torch.device, dtype: torch.dtype) -> N:
    """Load one network that has a folder, or a hub repository, of its own. Raises `LoadError`."""
    weights = _local_folder(weights)
    with _part(weights, kind.__name__):
        return _to_device(_complete(kind, weights, None, torch_dtype=dtype), device)


def _local_folder(weights: str) -> str:
    """A folder as it is; of a hub repository the copy here, downloaded where it is not whole."""
    path = Path(weights)
    if path.is_file():
        kind = "GGUF" if path.suffix.lower() == ".gguf" else path.suffix.lstrip(".") or "unknown"
        raise LoadError(
            f"Weights '{weights}': this is a single file ({kind}). "
            "Only folders in the diffusers layout and hub repositories can be loaded."
        )
    if path.is_absolute() and not path.is_dir():
        raise LoadError(f"Weights '{weights}': there is no such folder.")
    try:
        return str(fetch_folder(weights))
    except HubError as error:
        raise LoadError(f"Weights '{weights}': {error}.") from error


def _check_config(weights: str, part: str) -> None:
    """Raise `ValueError` for a transformer of another kind, before its weights are read."""
    config = cast("dict[str, Any]", QwenImageTransformer2DModel.load_config(weights, subfolder=part))
    for name, reason in _UNSUPPORTED_CONFIG.items():
        if config.get(name):
            raise ValueError(reason)


def _to_device(network: N, device: torch.device) -> N:
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def _part(weights: str, name: str) -> Iterator[str]:
    """Whatever the libraries raise about one part of the folder becomes a `LoadError` that names it."""
    try:
        yield name
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise LoadError(f"Weights '{weights}': {name} cannot be loaded: {_first_line(error)}") from error


def _complete(kind: Any, weights: str, part: str | None, **options: Any) -> Any:
    """A model that has all its weights and uses all that the files hold. Raises `ValueError`.

    The libraries would leave missing weights random and drop the others, with a mere warning.
    """
    model, report = kind.from_pretrained(weights, subfolder=part, output_loading_info=True, **options)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{len(missing)} weights of {kind.__name__} are missing, such as {missing[0]}")
    if surplus := sorted(name for name in report["unexpected_keys"] if not _COMPUTED_BUFFERS.search(name)):
        quantized = next(filter(_QUANTIZED.search, surplus), None)
        advice = "; quantized weights are not supported" if quantized else ""
        raise ValueError(
            f"{kind.__name__} has no place for {len(surplus)} of the weights, such as {quantized or surplus[0]}{advice}"
        )
    return model


def _tokenizer(weights: str, part: str) -> Qwen2Tokenizer:
    tokenizer = Qwen2Tokenizer.from_pretrained(weights, subfolder=part)
    if missing := set(CONTROL_TOKENS) - tokenizer.get_vocab().keys():  # without files, the class makes an empty one
        raise ValueError(f"its vocabulary lacks {min(missing)}")
    return tokenizer


def _image_processor(weights: str, part: str, *, required: bool) -> Qwen2VLImageProcessorPil | None:
    try:
        return Qwen2VLImageProcessorPil.from_pretrained(weights, subfolder=part)
    except OSError:
        if required:
            raise
        return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
