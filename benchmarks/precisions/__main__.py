"""Measures what quantized weights change: the error of each layer, and of each picture.

    python -m benchmarks.precisions [--precision fp8] [--steps 20] [--size 256] [--out FILE]
    python -m benchmarks.precisions report

Renders the built-in prompts with the embedded checkpoint, exact and quantized, with the same seeds. The layers' errors
are those of one step of the first prompt, on the inputs of the exact render. Prints tables and appends a JSON line for
each precision. `report` writes docs/reference/precisions.md from the committed lines. Needs the extra `benchmark`, and
`nf4` needs bitsandbytes.
"""

import argparse
import copy
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from accel.weights.quantized.quantize import QuantizedPrecision, quantize
from benchmarks.page_tables import rewrite_page
from benchmarks.precisions.layer_errors import LayerErrors, watch_layers
from benchmarks.precisions.report import PAGE, RESULTS, with_tables
from benchmarks.runs.records import append_line, installed_version
from benchmarks.step_caches.prompts import default_prompts
from benchmarks.step_caches.similarity import compare
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loading.loader import in_a_block
from pipelines.models.residency.model_cache import ModelCache
from pipelines.request import RenderRequest, Sampler

GUIDANCE, SEED = 4.0, 7


def measure(
    model: LoadedModel, entry: ModelEntry, precision: QuantizedPrecision, requests: Sequence[RenderRequest]
) -> dict[str, Any]:
    """The errors of the layers by kind, and the similarity of each picture to the exact one."""
    errors = layer_errors(model, entry, precision, requests[0])
    quantized = copy.deepcopy(model.checkpoint.transformer)
    quantize(quantized, precision, skip=lambda name: not in_a_block(name))
    other = replace(model, checkpoint=replace(model.checkpoint, transformer=quantized))
    pictures = []
    for request in requests:
        found, exact = (generate(request, 0, each, entry, _ignore).image for each in (other, model))
        pictures.append(compare(found, exact))
    psnr = [picture.psnr for picture in pictures]
    return {
        "layers": errors.by_kind,
        "psnr": {"median": round(statistics.median(psnr), 1), "least": round(min(psnr), 1)},
        "ssim": {"mean": round(statistics.fmean(picture.ssim for picture in pictures), 3)},
        "pictures": len(pictures),
    }


def layer_errors(
    model: LoadedModel, entry: ModelEntry, precision: QuantizedPrecision, request: RenderRequest
) -> LayerErrors:
    """The errors of the layers in one step of a request."""
    with watch_layers(model.checkpoint.transformer, precision) as errors:
        generate(replace(request, steps=1), 0, model, entry, _ignore)
    return errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["report"]:
        rewrite_page(PAGE, RESULTS, with_tables)
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--precision", action="append", choices=get_args(QuantizedPrecision), help="repeatable")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    options = parser.parse_args(arguments)
    entry = load_catalog().with_embedded_weights().entries[0]
    model = ModelCache("cpu").get(entry)
    requests = [
        RenderRequest(
            entry.air, prompt.text, None, options.size, options.size, options.steps, Sampler(), GUIDANCE, SEED
        )
        for prompt in default_prompts(entry)
    ]
    setup = {"model": entry.air, "weights": "embedded", "steps": options.steps, "size": options.size, "device": "cpu"}
    for precision in options.precision or get_args(QuantizedPrecision):
        found = measure(model, entry, precision, requests)
        print(f"{precision}: PSNR {found['psnr']}, SSIM {found['ssim']}, {found['pictures']} pictures")
        print("".join(f"  {kind:<24}{error}\n" for kind, error in found["layers"].items()), flush=True)
        line = {"benchmark": "precisions", "precision": precision, **setup, **found}
        append_line(options.out, line | {"torch": installed_version("torch")})


def _ignore(step: int, total: int) -> None:
    """Nothing is reported."""


if __name__ == "__main__":
    main()
