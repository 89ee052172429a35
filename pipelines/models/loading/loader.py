"""From the files of a model's components to networks on a device.

Real and embedded weights go through the same code. Knows no request.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from safetensors import SafetensorError
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.kernels.vector_math import choose_kernels
from accel.weights.placement import EVERYTHING_RESIDENT, MODULATION_LAYERS, HostShare, place_transformer
from accel.weights.single_frame import SingleFrameVae
from pipelines.catalog.catalog import is_path
from pipelines.catalog.component_files import SINGLE_FILE, Component, ComponentFiles
from pipelines.catalog.hub.cache import is_repository
from pipelines.catalog.hub.download import fetch_file, fetch_folder
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.templates import CONTROL_TOKENS
from pipelines.errors import LoadError, first_line
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import compute_dtype
from pipelines.models.encoder.waiting_encoder import LoadedEncoder, WaitingEncoder
from pipelines.models.formats.components.text_encoder import NO_VISION, TextEncoderFile, open_text_encoder
from pipelines.models.formats.components.transformer import open_transformer
from pipelines.models.formats.components.vae import open_vae
from pipelines.models.formats.containers.weight_files import read_json
from pipelines.models.formats.fill import build_empty, check_names, fill
from pipelines.models.formats.place import Placement, no_layer
from pipelines.models.loading.kept_components import KeptComponents, shared_identities
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
    formats = component_formats(files)
    choose_kernels()
    plan = plan or resident_plan("fp32" if dtype == torch.float32 else "bf16")
    kept = kept or KeptComponents()
    identities = shared_identities(files, str(dtype), plan)
    kept.drop_others(identities)
    share = HostShare(plan.transformer.streamed_blocks, plan.tables)
    precision = plan.transformer.precision
    # Blocks of GGUF stay as they are, because they also take less host memory.
    chosen = beside_the_modulation if share.tables and precision != "packed" else in_a_block
    with _part(files.transformer or files.weights, "transformer"):
        transformer = load_transformer(files, Placement(device, dtype, precision, chosen), share)
        placed = place_transformer(transformer, device, share)
    vae_dtype = compute_dtype(plan.vae.precision, device)
    vae = kept.get("vae", identities["vae"], lambda: load_vae(files, device, vae_dtype))
    precision = plan.text_encoder.precision
    encoding = Placement(device, compute_dtype(precision, device), precision, in_a_layer)
    waits = plan.text_encoder.streamed_bytes > 0
    encoder = kept.get(
        "text_encoder",
        identities["text_encoder"],
        lambda: load_text_encoder(files, encoding, with_vision=with_vision, waits=waits),
    )
    with _part(files.weights, "tokenizer") as part:
        tokenizer = _tokenizer(folder, part)
    with _part(files.weights, "processor") as part:
        image_processor = _image_processor(folder, part, required=with_vision)
    with _part(files.weights, "scheduler") as part:
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
        formats=MappingProxyType(formats),
    )


def component_formats(files: ComponentFiles) -> dict[str, str]:
    """Open the files of each component, and name their formats. Raises `LoadError` before any weights are read."""
    formats: dict[str, str] = {}
    with _part(files.transformer or files.weights, "transformer") as part:
        formats["transformer"] = open_transformer(*_path_and_config(files, part)).format
    with _part(files.text_encoder or files.weights, "text_encoder"):
        formats["text_encoder"] = _open_text_encoder(files).format
    with _part(files.vae or files.weights, "vae") as part:
        formats["vae"] = open_vae(*_path_and_config(files, part)).format
    return formats


def load_transformer(
    files: ComponentFiles, placement: Placement, share: HostShare = EVERYTHING_RESIDENT
) -> QwenImageTransformer2DModel:
    """Load the transformer in whatever format its files have. Raises `LoadError`.

    The layers of the `share` wait in host memory.
    """
    own = files.transformer
    with _part(own or files.weights, "transformer"):
        found = open_transformer(*_path_and_config(files, "transformer"))
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


def load_vae(files: ComponentFiles, device: torch.device, dtype: torch.dtype) -> SingleFrameVae:
    """Load the VAE in whatever format its files have, for single images. Raises `LoadError`."""
    with _part(files.vae or files.weights, "vae") as part:
        found = open_vae(*_path_and_config(files, part))
        network = build_empty(
            lambda: cast("AutoencoderKLQwenImage", AutoencoderKLQwenImage.from_config(dict(found.config)))
        )
        fill(network, found.weights, Placement(device, dtype, "bf16", no_layer), lambda read: None)
        return _to_device(SingleFrameVae(network), device)


def load_text_encoder(
    files: ComponentFiles, placement: Placement, *, with_vision: bool, waits: bool = False
) -> LoadedEncoder:
    """Load the text encoder in whatever format its files have, without its logits. Raises `LoadError`.

    One that `waits` is read into host memory when it is first needed. Its files are checked now.
    """
    with _part(files.text_encoder or files.weights, "text_encoder") as part:
        found = _open_text_encoder(files)
        if not found.config:
            raise ValueError(f"`weights` has no {part}/config.json, which a single file needs beside it")
        if with_vision and not found.sees:
            raise ValueError(NO_VISION)
        network = build_empty(lambda: _text_encoder(found.config, with_vision=found.sees))
        size = sum(entry.size for entry in found.weights.values())
        check_names(network, found.weights)
        depth = len(network.model.language_model.layers)
        precise = precise_layers(placement.precision, depth)
        chosen = placement.chosen
        placement = replace(placement, chosen=lambda name: chosen(name) and not name.startswith(precise))

    def read(placement: Placement) -> Qwen2_5_VLForConditionalGeneration:
        name = _short(files.text_encoder or files.weights)
        progress = show_progress(f"loading {name}: text encoder ({found.format})", size)
        with _part(files.text_encoder or files.weights, "text_encoder"), progress as advance:
            return fill(network, found.weights, placement, advance)

    if waits:
        at_home = replace(placement, waits=lambda name: True)
        return LoadedEncoder(network.eval(), WaitingEncoder(network, lambda: read(at_home), placement.device))
    return LoadedEncoder(_to_device(read(placement), placement.device))


def _open_text_encoder(files: ComponentFiles) -> TextEncoderFile:
    named, part = files.text_encoder_mmproj, "text_encoder"
    return open_text_encoder(*_path_and_config(files, part), None if named is None else _component_path(named, part))


def precise_layers(precision: Precision, depth: int) -> tuple[str, ...]:
    """The prefixes of the layers of a text encoder that are not quantized, though the others are."""
    ends = precise_ends(precision, depth)
    return tuple(f"model.language_model.layers.{number}." for number in (*range(ends), *range(depth - ends, depth)))


def in_a_layer(name: str) -> bool:
    """Whether a layer of the text encoder is quantized: embeddings and the vision tower stay precise."""
    return name.startswith("model.language_model.layers.")


def _text_encoder(config: Mapping[str, Any], *, with_vision: bool) -> Qwen2_5_VLForConditionalGeneration:
    network = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_dict(dict(config)))
    network.lm_head = cast("Any", torch.nn.Identity())  # logits are never computed
    if not with_vision:
        network.model.visual = cast("Any", torch.nn.Identity())
    return network


def model_folder(files: ComponentFiles) -> Path:
    """The folder of a model's weights, downloaded if they are a hub repository. Raises `LoadError`."""
    weights = files.weights
    path = Path(weights).expanduser()
    if path.is_file():
        raise LoadError(f"Weights '{weights}': this {SINGLE_FILE}.")
    if path.is_dir():
        return path
    if path.is_absolute():
        raise LoadError(f"Weights '{weights}': there is no such folder.")
    try:
        return fetch_folder(weights, files.replaced)
    except HubError as error:
        raise LoadError(f"Weights '{weights}': {error}.") from error


def _path_and_config(files: ComponentFiles, part: str) -> tuple[Path, dict[str, Any] | None]:
    """The file or folder of one component, and the configuration that `weights` has for it, if any."""
    base, own = model_folder(files) / part, files.own(cast("Component", part))
    config = base / "config.json"
    return base if own is None else _component_path(own, part), read_json(config) if config.is_file() else None


def _component_path(name: str, part: str) -> Path:
    """The file or folder of one component. A folder may hold a whole model, of which this is a part."""
    path = Path(name).expanduser()
    if not path.exists() and not is_path(name):
        path = fetch_folder(name) if is_repository(name) else fetch_file(path)
    return path / part if (path / part).is_dir() else path


def _to_device(network: N, device: torch.device) -> N:
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def _part(weights: str, name: str) -> Iterator[str]:
    """Whatever is raised about one part of a model becomes a `LoadError` that names it."""
    try:
        yield name
    except LoadError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, MemoryError, SafetensorError) as error:
        raise LoadError(f"Weights '{weights}': {name} cannot be loaded: {first_line(error)}") from error


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


def _short(weights: str) -> str:
    """Weights in a line about progress: a hub name as it is, and the end of a path."""
    return Path(weights).name if Path(weights).is_absolute() else weights
