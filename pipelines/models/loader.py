"""From a folder or hub name to models on a device, and which of them stay there.

Real and embedded weights go through the same code. Knows the diffusers folder layout; knows no request.
"""

import gc
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors import SafetensorError
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.kernels.vector_math import choose_kernels
from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.catalog import EMBEDDED_FOLDER, ModelEntry
from pipelines.catalog.templates import CONTROL_TOKENS
from pipelines.errors import LoadError
from pipelines.lora.apply import Loras
from pipelines.models.encodings import Encodings

M = TypeVar("M", bound=torch.nn.Module)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that draws, loaded. Shared by all requests, so nothing may be changed on it.

    `image_processor` is None for text-to-image weights, whose folder has none. `encodings` are those that its encoders
    have made, `loras` are those read for the transformer so far, and `controlnets` those that were used with it lately,
    by their weights; `pipelines.controlnet.nets` keeps them within a bound.
    """

    transformer: QwenImageTransformer2DModel
    vae: SingleFrameVae
    text_encoder: Qwen2_5_VLForConditionalGeneration
    tokenizer: Qwen2Tokenizer
    image_processor: Qwen2VLImageProcessorPil | None
    scheduler: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    encodings: Encodings = field(default_factory=Encodings)
    loras: Loras = field(default_factory=Loras)
    controlnets: OrderedDict[str, QwenImageControlNetModel] = field(default_factory=OrderedDict, repr=False)


class ModelCache:
    """The loaded checkpoints of one device, the `capacity` most recently used."""

    def __init__(self, device: str, *, dtype: torch.dtype | None = None, capacity: int = 1) -> None:
        self._device = torch.device(device)
        self._dtype = dtype or default_dtype(self._device)
        self._capacity = capacity
        self._loaded: OrderedDict[str, Checkpoint] = OrderedDict()

    def get(self, entry: ModelEntry) -> Checkpoint:
        """The checkpoint of a model, loaded if need be. Raises `LoadError`."""
        weights = str(EMBEDDED_FOLDER) if entry.embedded else entry.weights
        with_vision = entry.mode != "text_to_image"
        if weights not in self._loaded:
            while len(self._loaded) >= self._capacity:  # two of these do not fit side by side
                self._loaded.popitem(last=False)
                free_memory()
            self._loaded[weights] = load(weights, self._device, self._dtype, with_vision=with_vision)
        self._loaded.move_to_end(weights)
        checkpoint = self._loaded[weights]
        if with_vision and checkpoint.image_processor is None:
            raise LoadError(f"Weights '{weights}' have no processor, so they draw from text but cannot edit.")
        return checkpoint


def load(weights: str, device: torch.device, dtype: torch.dtype, *, with_vision: bool) -> Checkpoint:
    """Load every part of a diffusers folder, or of a hub repository. Raises `LoadError`."""
    if Path(weights).is_absolute() and not Path(weights).is_dir():
        raise LoadError(f"Weights '{weights}': there is no such folder.")
    choose_kernels()
    with _part(weights, "transformer") as part:
        transformer = _moved(_whole(QwenImageTransformer2DModel, weights, part, torch_dtype=dtype), device)
    with _part(weights, "vae") as part:
        vae = _moved(SingleFrameVae(_whole(AutoencoderKLQwenImage, weights, part, torch_dtype=dtype)), device)
    with _part(weights, "text_encoder") as part:
        text_encoder = _moved(_whole(Qwen2_5_VLForConditionalGeneration, weights, part, dtype=dtype), device)
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
        scheduler=scheduler,
        device=device,
        dtype=dtype,
    )


def load_model(kind: type[M], weights: str, device: torch.device, dtype: torch.dtype) -> M:
    """Load one model that is a folder, or a hub repository, of its own. Raises `LoadError`."""
    if Path(weights).is_absolute() and not Path(weights).is_dir():
        raise LoadError(f"Weights '{weights}': there is no such folder.")
    with _part(weights, kind.__name__):
        return _moved(_whole(kind, weights, None, torch_dtype=dtype), device)


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


@contextmanager
def _part(weights: str, name: str) -> Iterator[str]:
    """Whatever the libraries raise about one part of the folder becomes a `LoadError` that names it."""
    try:
        yield name
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise LoadError(f"Weights '{weights}': {name} cannot be loaded: {_first_line(error)}") from error


def _whole(kind: Any, weights: str, part: str | None, **options: Any) -> Any:
    """A model none of whose weights is missing: the libraries would leave those random, with a mere warning."""
    model, report = kind.from_pretrained(weights, subfolder=part, output_loading_info=True, **options)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{len(missing)} weights of {kind.__name__} are missing, such as {missing[0]}")
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


def free_memory() -> None:
    """Give back what a dropped model held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
