"""Measures what the precision of the transformer or of the text encoder changes: each picture, and each layer.

    python -m benchmarks.precisions [--component text_encoder] [--precision fp8] [--steps 20] [--size 256] [--out FILE]
    python -m benchmarks.precisions report

Renders the built-in prompts with the embedded checkpoint, exact and in each precision, with the same seeds. The layers'
errors are those of the quantized transformer in one step of the first prompt, on the inputs of the exact render. Prints
tables and appends a JSON line for each precision. `report` writes docs/reference/precisions.md from the committed
lines. Needs the extra `benchmark`, and `nf4` needs bitsandbytes.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

from accel.weights.quantized.quantize import QuantizedPrecision
from benchmarks.page_tables import rewrite_page
from benchmarks.precisions.layer_errors import LayerErrors, watch_layers
from benchmarks.precisions.report import PAGE, RESULTS, with_tables
from benchmarks.runs.records import append_line, installed_version
from benchmarks.step_caches.prompts import default_prompts
from benchmarks.step_caches.similarity import compare
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.weights_fingerprint import fingerprint
from pipelines.generate import generate
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wishes
from pipelines.models.residency.model_cache import ModelCache
from pipelines.models.residency.options import ModelOptions
from pipelines.request import RenderRequest, Sampler

GUIDANCE, SEED = 4.0, 7
Component = Literal["transformer", "text_encoder"]
Precision = Literal["bf16", QuantizedPrecision]
PRECISIONS: tuple[Precision, ...] = ("bf16", *get_args(QuantizedPrecision))
Requests = Sequence[RenderRequest]


@dataclass(frozen=True)
class Setting:
    """The precision of one component. The other one is exact: float32 on a CPU."""

    component: Component
    precision: Precision

    def load(self, entry: ModelEntry) -> LoadedModel:
        """The model, as a server loads it with the option of this component."""
        of_encoder = self.component == "text_encoder"
        wishes = Wishes(encoder_precision=self.precision) if of_encoder else Wishes(precision=self.precision)
        return ModelCache("cpu", ModelOptions(PlanOptions(wishes=wishes))).get(entry)


def measure(
    exact: LoadedModel, pictures: Sequence[Image.Image], entry: ModelEntry, setting: Setting, requests: Requests
) -> dict[str, Any]:
    """The similarity of each picture to the exact one, and the errors of the transformer's layers by kind."""
    found: dict[str, Any] = {"component": setting.component, "precision": setting.precision}
    if setting.component == "transformer" and setting.precision != "bf16":
        found["layers"] = layer_errors(exact, entry, setting.precision, requests[0]).by_kind
    alike = [
        compare(picture, expected)
        for picture, expected in zip(render(setting.load(entry), entry, requests), pictures, strict=True)
    ]
    psnr = [each.psnr for each in alike]
    return found | {
        "psnr": {"median": round(statistics.median(psnr), 1), "least": round(min(psnr), 1)},
        "ssim": {"mean": round(statistics.fmean(each.ssim for each in alike), 3)},
        "pictures": len(alike),
    }


def render(model: LoadedModel, entry: ModelEntry, requests: Requests) -> list[Image.Image]:
    """The picture of each request."""
    return [generate(request, 0, model, entry, _ignore).image for request in requests]


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
    parser.add_argument("--component", action="append", choices=get_args(Component), help="repeatable")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="repeatable")
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
    weights = fingerprint(entry.weights)
    setup = {"model": entry.air, "weights": weights, "steps": options.steps, "size": options.size, "device": "cpu"}
    pictures = render(model, entry, requests)
    for component, precision in product(options.component or get_args(Component), options.precision or PRECISIONS):
        found = measure(model, pictures, entry, Setting(component, precision), requests)
        print(f"{component}, {precision}: PSNR {found['psnr']}, SSIM {found['ssim']}, {found['pictures']} pictures")
        layers = found.get("layers", {})
        print("".join(f"  {kind:<24}{error}\n" for kind, error in layers.items()), flush=True)
        append_line(options.out, {"benchmark": "precisions", **setup, **found, "torch": installed_version("torch")})


def _ignore(step: int, total: int) -> None:
    """Nothing is reported."""


if __name__ == "__main__":
    main()
