"""From the files of a model's components to networks on a device.

Real and embedded weights go through the same code. Knows no request.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.kernels.vector_math import choose_kernels
from accel.weights.placement import EVERYTHING_RESIDENT, MODULATION_LAYERS, HostShare, place_transformer
from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.templates import CONTROL_TOKENS
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import compute_dtype
from pipelines.models.encoder.waiting_encoder import LoadedEncoder, WaitingEncoder
from pipelines.models.formats.components.text_encoder import NO_VISION, TextEncoderFile
from pipelines.models.formats.components.transformer import TransformerFile
from pipelines.models.formats.components.vae import VaeFile
from pipelines.models.formats.fill import build_empty, check_names, fill
from pipelines.models.formats.place import Placement, no_layer
from pipelines.models.loading.kept_components import KeptComponents, shared_identities
from pipelines.models.loading.opened_files import (
    find_text_encoder,
    find_transformer,
    find_vae,
    model_folder,
    naming_part,
    open_files,
)
from pipelines.models.plan import Precision, WeightsPlan, resident_plan
from pipelines.models.planning.sizes import precise_ends
from pipelines.progress import show_progress

N = TypeVar("N", bound=torch.nn.Module)


def load(
    files: ComponentFiles | str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    with_vision: bool,
    plan: WeightsPlan | None = None,
    kept: KeptComponents | None = None,
) -> Checkpoint:
    """Load every component of a model. Raises `LoadError`.

    A string names weights that hold them all. Without a `plan` everything is on the device, in `dtype`. What is `kept`
    of the model before is used again, and dropped where this model has another.
    """
    files = ComponentFiles(files) if isinstance(files, str) else files
    folder = str(model_folder(files))
    opened = open_files(files)
    choose_kernels()
    plan = plan or resident_plan("fp32" if dtype == torch.float32 else "bf16")
    kept = kept or KeptComponents()
    identities = shared_identities(files, str(dtype), plan)
    kept.drop_others(identities)
    share = HostShare(plan.transformer.streamed_blocks, plan.tables)
    precision = plan.transformer.precision
    # Blocks of GGUF stay as they are, because they also take less host memory.
    chosen = beside_the_modulation if share.tables and precision != "packed" else in_a_block
    with naming_part(files.transformer or files.weights, "transformer"):
        transformer = load_transformer(files, Placement(device, dtype, precision, chosen), share, opened.transformer)
        placed = place_transformer(transformer, device, share)
    vae_dtype = compute_dtype(plan.vae.precision, device)
    vae = kept.get("vae", identities["vae"], lambda: load_vae(files, device, vae_dtype, opened.vae))
    precision = plan.text_encoder.precision
    encoding = Placement(device, compute_dtype(precision, device), precision, in_a_layer)
    waits = plan.text_encoder.streamed_bytes > 0
    encoder = kept.get(
        "text_encoder",
        identities["text_encoder"],
        lambda: load_text_encoder(files, encoding, with_vision=with_vision, waits=waits, opened=opened.text_encoder),
    )
    with naming_part(files.weights, "tokenizer") as part:
        tokenizer = load_tokenizer(folder, part)
    with naming_part(files.weights, "processor") as part:
        image_processor = _image_processor(folder, part, required=with_vision)
    with naming_part(files.weights, "scheduler") as part:
        scheduler = cast("dict[str, Any]", FlowMatchEulerDiscreteScheduler.load_config(folder, subfolder=part))
    return Checkpoint(
        transformer=transformer,
        vae=vae,
        text_encoder=encoder.network,
        tokenizer=tokenizer,
        image_processor=image_processor,
        scheduler=MappingProxyType(scheduler),
        device=device,
        dtype=dtype,
        placed=placed,
        waiting=encoder.waiting,
        formats=opened.formats,
    )


def load_transformer(
    files: ComponentFiles,
    placement: Placement,
    share: HostShare = EVERYTHING_RESIDENT,
    opened: TransformerFile | None = None,
) -> QwenImageTransformer2DModel:
    """Load the transformer in whatever format its files have. Raises `LoadError`.

    The layers of the `share` wait in host memory. Its files may be `opened` already.
    """
    own = files.transformer
    found = opened or find_transformer(files)
    with naming_part(own or files.weights, "transformer"):
        network = build_empty(lambda: _transformer(found.config))
        depth = len(network.transformer_blocks)
        placement = replace(placement, waits=lambda name: share.waits(name, depth))
        size = sum(entry.tensor.size for entry in found.weights.values())
        with show_progress(f"loading {_short(own or files.weights)}: transformer ({found.format})", size) as advance:
            return fill(network, found.weights, placement, advance)


def in_a_block(name: str) -> bool:
    """Whether a layer of the transformer is quantized: embeddings and the last layer are small, and stay precise."""
    return name.startswith("transformer_blocks.")


def beside_the_modulation(name: str) -> bool:
    """Whether a layer is quantized where tables take the modulation off the device: its layers stay precise."""
    return in_a_block(name) and not any(layer in name.split(".") for layer in MODULATION_LAYERS)


def _transformer(config: Mapping[str, Any]) -> QwenImageTransformer2DModel:
    return cast("QwenImageTransformer2DModel", QwenImageTransformer2DModel.from_config(dict(config)))


def load_vae(
    files: ComponentFiles, device: torch.device, dtype: torch.dtype, opened: VaeFile | None = None
) -> SingleFrameVae:
    """Load the VAE in whatever format its files have, for single images. Raises `LoadError`.

    Its files may be `opened` already.
    """
    found = opened or find_vae(files)
    with naming_part(files.vae or files.weights, "vae"):
        network = build_empty(
            lambda: cast("AutoencoderKLQwenImage", AutoencoderKLQwenImage.from_config(dict(found.config)))
        )
        fill(network, found.weights, Placement(device, dtype, "bf16", no_layer), lambda read: None)
        return _to_device(SingleFrameVae(network), device)


def load_text_encoder(
    files: ComponentFiles,
    placement: Placement,
    *,
    with_vision: bool,
    waits: bool = False,
    opened: TextEncoderFile | None = None,
) -> LoadedEncoder:
    """Load the text encoder in whatever format its files have, without its logits. Raises `LoadError`.

    One that `waits` is read into host memory when it is first needed. Its files are checked now, unless `opened`.
    """
    found = opened or find_text_encoder(files)
    with naming_part(files.text_encoder or files.weights, "text_encoder") as part:
        if not found.config:
            raise ValueError(f"`weights` has no {part}/config.json, which a single file needs beside it")
        if with_vision and not found.sees:
            raise ValueError(NO_VISION)
        network = build_empty(lambda: make_text_encoder(found.config, with_vision=found.sees))
        size = sum(entry.size for entry in found.weights.values())
        check_names(network, found.weights)
        depth = len(network.model.language_model.layers)
        precise = precise_layers(placement.precision, depth)
        chosen = placement.chosen
        placement = replace(placement, chosen=lambda name: chosen(name) and not name.startswith(precise))

    def read(placement: Placement) -> Qwen2_5_VLForConditionalGeneration:
        name = _short(files.text_encoder or files.weights)
        progress = show_progress(f"loading {name}: text encoder ({found.format})", size)
        with naming_part(files.text_encoder or files.weights, "text_encoder"), progress as advance:
            return fill(network, found.weights, placement, advance)

    if waits:
        at_home = replace(placement, waits=lambda name: True)
        return LoadedEncoder(network.eval(), WaitingEncoder(network, lambda: read(at_home), placement.device))
    return LoadedEncoder(_to_device(read(placement), placement.device))


def precise_layers(precision: Precision, depth: int) -> tuple[str, ...]:
    """The prefixes of the layers of a text encoder that are not quantized, though the others are."""
    ends = precise_ends(precision, depth)
    return tuple(f"model.language_model.layers.{number}." for number in (*range(ends), *range(depth - ends, depth)))


def in_a_layer(name: str) -> bool:
    """Whether a layer of the text encoder is quantized: embeddings and the vision tower stay precise."""
    return name.startswith("model.language_model.layers.")


def make_text_encoder(config: Mapping[str, Any], *, with_vision: bool) -> Qwen2_5_VLForConditionalGeneration:
    """A text encoder of this configuration, without what computes logits."""
    network = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(dict(config)))
    network.lm_head = cast("Any", torch.nn.Identity())  # logits are never computed
    if not with_vision:
        network.model.visual = cast("Any", torch.nn.Identity())
    return network


def _to_device(network: N, device: torch.device) -> N:
    return network.to(device).eval().requires_grad_(False)


def load_tokenizer(weights: str, part: str = "tokenizer") -> Qwen2Tokenizer:
    """The tokenizer in a folder of weights. Raises `ValueError` for one that lacks a control token."""
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


def _short(weights: str) -> str:
    """Weights in a line about progress: a hub name as it is, and the end of a path."""
    return Path(weights).name if Path(weights).is_absolute() else weights
