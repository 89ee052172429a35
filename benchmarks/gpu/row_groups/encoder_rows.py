"""The rows of the GPU benchmark about the text encoder: the encoding of one prompt, exact and quantized.

Its language model has random weights. It is built for a row, and leaves with it. Knows no transformer.
"""

import statistics
import time
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from accel.weights.quantized.quantize import describe_linears, quantize
from benchmarks.gpu.bench import Bench
from benchmarks.random_models import SEED
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.relative_difference import relative_difference
from benchmarks.runs.synchronize import synchronize
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import encode_prompt
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import default_dtype, free_memory
from pipelines.models.formats.fill import build_empty
from pipelines.models.loading.loader import in_a_layer, load_tokenizer, make_text_encoder

ENCODED, ENCODED_FP8 = "a prompt encoded", "a prompt encoded, fp8"
PROMPT = "a red circle beside a blue square on a white background, with a green triangle above them"
_ENCODINGS = 5  # the median of them counts
_SECONDS = 8
_SPARE = 1.2  # of the encoder's bytes: a layer in both precisions, and the hidden states


def encoder_rows(bench: Bench) -> list[Row]:
    """One prompt, exact and in FP8."""
    return [
        Row(name, partial(encoding, bench, fp8=fp8), _SECONDS) for name, fp8 in ((ENCODED, False), (ENCODED_FP8, True))
    ]


def encoding(bench: Bench, *, fp8: bool) -> Figures:
    """Seconds of an encoding and the encoder's memory; in FP8 also how far the embeddings are from the exact ones."""
    dtype = default_dtype(bench.device)
    empty = build_empty(lambda: make_text_encoder({"text_config": bench.size.encoder}, with_vision=False))
    size = sum(weight.numel() for weight in empty.parameters()) * dtype.itemsize
    make_room(bench, round(_SPARE * size))
    with bench.kernels():
        found = _measure(fill_with_noise(empty, bench.device, dtype), bench.device, dtype, fp8=fp8)
    del empty
    free_memory()
    return found


def make_room(bench: Bench, size: int) -> None:
    """Free the transformer where the card has less than `size` bytes left. The rows after these build it anew."""
    free_memory()
    if bench.device.type == "cuda" and torch.cuda.mem_get_info(bench.device)[0] < size:
        bench.forget()


def fill_with_noise(
    encoder: Qwen2_5_VLForConditionalGeneration, device: torch.device, dtype: torch.dtype
) -> Qwen2_5_VLForConditionalGeneration:
    """Give an empty encoder random weights on a device, under which the hidden states neither vanish nor grow."""
    torch.manual_seed(SEED)
    for module in encoder.modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            weight = torch.empty(parameter.shape, device=device, dtype=dtype)
            if weight.ndim > 1:
                weight.normal_(std=1.0 if isinstance(module, nn.Embedding) else weight.shape[1] ** -0.5)
            elif key == "bias":
                weight.normal_(std=0.02)
            else:
                weight.fill_(1.0)  # of a norm
            module.register_parameter(key, nn.Parameter(weight, requires_grad=False))
    nn.Module.to(encoder, device)  # what it calculates itself
    return encoder.eval()


def _measure(
    encoder: Qwen2_5_VLForConditionalGeneration, device: torch.device, dtype: torch.dtype, *, fp8: bool
) -> Figures:
    entry = load_catalog().entries[0]
    nothing = cast("Any", None)
    checkpoint = Checkpoint(
        transformer=nothing,
        vae=nothing,
        text_encoder=encoder,
        tokenizer=load_tokenizer(str(EMBEDDED_FOLDER)),
        image_processor=None,
        scheduler={},
        device=device,
        dtype=dtype,
    )

    def encode() -> torch.Tensor:
        """The embeddings, by a model that has kept none."""
        return encode_prompt(PROMPT, None, LoadedModel(checkpoint), entry).embeds

    found = expected = encode()  # warms up too
    if fp8:
        quantize(encoder, "fp8", skip=lambda name: not in_a_layer(name))
        encode()
    taken = []
    for _ in range(_ENCODINGS):
        synchronize(device)
        started = time.perf_counter()
        found = encode()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    figures: Figures = {
        "seconds": round(statistics.median(taken), 5),
        "tokens": found.shape[1],
        "encoder_gib": round(describe_linears(encoder).bytes / 2**30, 4),
        "finite": bool(found.isfinite().all()),
    }
    if fp8:
        figures["embeddings_relative_difference"] = relative_difference(found, expected)
    return figures
