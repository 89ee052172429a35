"""From a folder or hub name to models on a device, and which of them stay there.

Real and embedded weights go through the same code. Knows the diffusers folder layout; knows no request.
"""

import gc
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.single_frame import SingleFrameVae
from pipelines.catalog import ModelEntry
from pipelines.embedded.stand_in import build_stand_in

M = TypeVar("M", bound=torch.nn.Module)


class LoadError(RuntimeError):
    """The weights cannot be used; the message names them and says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that draws, loaded. Shared by all requests, so nothing may be changed on it.

    `image_processor` is None for text-to-image weights, whose folder has none.
    """

    transformer: QwenImageTransformer2DModel
    vae: SingleFrameVae
    text_encoder: Qwen2_5_VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    image_processor: Qwen2VLImageProcessorPil | None
    scheduler: dict[str, Any]
    device: torch.device
    dtype: torch.dtype


class Checkpoints:
    """The loaded checkpoints of one device, the `capacity` most recently used."""

    def __init__(self, device: str, embedded: Path, *, dtype: torch.dtype | None = None, capacity: int = 1) -> None:
        self._device = torch.device(device)
        self._dtype = dtype or default_dtype(self._device)
        self._embedded = embedded
        self._capacity = capacity
        self._loaded: OrderedDict[str, Checkpoint] = OrderedDict()

    def get(self, entry: ModelEntry) -> Checkpoint:
        """The checkpoint of a model, loaded if need be. Raises `LoadError`."""
        weights = str(build_stand_in(self._embedded)) if entry.embedded else entry.weights
        if weights not in self._loaded:
            while len(self._loaded) >= self._capacity:  # two of these do not fit side by side
                self._loaded.popitem(last=False)
                _free()
            self._loaded[weights] = load(weights, self._device, self._dtype, with_vision=entry.mode != "text_to_image")
        self._loaded.move_to_end(weights)
        return self._loaded[weights]


def load(weights: str, device: torch.device, dtype: torch.dtype, *, with_vision: bool) -> Checkpoint:
    """Load every part of a diffusers folder, or of a hub repository. Raises `LoadError`."""
    try:
        transformer = QwenImageTransformer2DModel.from_pretrained(weights, subfolder="transformer", torch_dtype=dtype)
        vae = AutoencoderKLQwenImage.from_pretrained(weights, subfolder="vae", torch_dtype=dtype)
        text_encoder = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            weights, subfolder="text_encoder", dtype=dtype
        )
        return Checkpoint(
            transformer=_moved(transformer, device),
            vae=_moved(SingleFrameVae(vae), device),
            text_encoder=_moved(text_encoder, device),
            tokenizer=Qwen2Tokenizer.from_pretrained(weights, subfolder="tokenizer"),
            image_processor=_image_processor(weights, required=with_vision),
            scheduler=cast(
                "dict[str, Any]", FlowMatchEulerDiscreteScheduler.load_config(weights, subfolder="scheduler")
            ),
            device=device,
            dtype=dtype,
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise LoadError(f"Weights '{weights}' cannot be loaded: {_first_line(error)}") from error


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is fast; CPUs gain nothing from it at small widths, and lose precision."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def device_name(device: str) -> str:
    """A device in words."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(kind)})"
    return f"{device} ({torch.get_num_threads()} threads)"


def _moved(model: M, device: torch.device) -> M:
    return model.to(device).eval().requires_grad_(False)


def _image_processor(weights: str, *, required: bool) -> Qwen2VLImageProcessorPil | None:
    try:
        return Qwen2VLImageProcessorPil.from_pretrained(weights, subfolder="processor")
    except OSError:
        if required:
            raise
        return None


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
