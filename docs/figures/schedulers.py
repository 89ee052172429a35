"""Draws and measures every scheduler on one prompt and seed.

    python -m docs.figures.schedulers --out DIR [--steps 20] [--side 128] [--prompt "…"] [--seed 1] [--device cuda]

Renders with the embedded checkpoint. Writes the contact sheet DIR/schedulers.png and DIR/schedulers.jsonl, one line for
each name. Seconds include the encoding of the prompt and the decoding of the picture. The distance is the error of the
steps: the root mean square difference of the latents from 80 steps of Heun, for schedulers that add no noise.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.devices import default_dtype
from pipelines.models.loading.loader import load
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance, finish
from pipelines.request import RenderRequest, Sampler
from server.api.runware.schema.schedulers import SAMPLERS

PROMPT = "a large red circle at the top left on a blue background"
REFERENCE, REFERENCE_STEPS = Sampler("heun", "beta"), 80
COLUMNS, LABEL, FRAME = 10, 14, 4  # tiles in a row; pixels of the label above a tile, and between tiles


@dataclass(frozen=True)
class Measurement:
    """One picture, its latents [1, tokens, 4z], its seconds and its number of forwards."""

    picture: Image.Image
    latents: torch.Tensor
    seconds: float
    forwards: int


@dataclass(frozen=True)
class Subject:
    """The checkpoint, prompt, seed and size that every scheduler renders."""

    model: LoadedModel
    entry: ModelEntry
    prompt: str
    seed: int
    side: int

    def render(self, sampler: Sampler, steps: int) -> Measurement:
        """Measurement with one sampler."""
        request = RenderRequest(
            model=self.entry.air,
            prompt=self.prompt,
            negative_prompt=None,
            width=self.side,
            height=self.side,
            steps=steps,
            sampler=sampler,
            true_cfg_scale=self.entry.true_cfg_scale,
            seed=self.seed,
        )
        calls = []
        counter = self.model.checkpoint.transformer.register_forward_hook(lambda *_: calls.append(None))
        started = time.perf_counter()
        state = prepare(request, 0, self.model, self.entry)
        while state.step < state.total:
            advance([state])
        picture = finish(state)
        counter.remove()
        branches = 1 if state.uncond is None else 2
        return Measurement(picture, state.latents, time.perf_counter() - started, len(calls) // branches)


def contact_sheet(pictures: dict[str, Image.Image]) -> Image.Image:
    """Draw the pictures in rows, each under its name."""
    side = next(iter(pictures.values())).width
    wide, high = side + FRAME, side + LABEL + FRAME
    sheet = Image.new("RGB", (COLUMNS * wide, math.ceil(len(pictures) / COLUMNS) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(pictures.items()):
        left, top = number % COLUMNS * wide, number // COLUMNS * high
        label = name.replace("Scheduler", "").replace("Exponential", "Exp")
        pen.text((left, top), label, fill="black", font_size=10)
        sheet.paste(picture, (left, top + LABEL))
    return sheet


def describe(name: str, measured: Measurement, reference: Measurement) -> dict[str, Any]:
    """Return the JSON line of a scheduler. `contrast` is the standard deviation of the grey levels, 0 if blank."""
    sampler = SAMPLERS[name]
    distance = (measured.latents - reference.latents).float().square().mean().sqrt().item()
    return {
        "benchmark": "schedulers",
        "scheduler": name,
        "solver": sampler.solver,
        "schedule": sampler.schedule,
        "seconds": round(measured.seconds, 3),
        "forwards": measured.forwards,
        "distance": None if sampler.stochastic else round(distance, 4),
        "contrast": round(float(np.asarray(measured.picture).std()), 1),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    checkpoint = load(str(EMBEDDED_FOLDER), device, default_dtype(device), with_vision=False)
    entry = replace(load_catalog().entries[0], weights=EMBEDDED)
    subject = Subject(LoadedModel(checkpoint), entry, options.prompt, options.seed, options.side)
    reference = subject.render(REFERENCE, REFERENCE_STEPS)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {}
    with (options.out / "schedulers.jsonl").open("w", encoding="utf-8") as file:
        for name, sampler in SAMPLERS.items():
            measured = subject.render(sampler, options.steps)
            pictures[name] = measured.picture
            line = describe(name, measured, reference)
            place = {"steps": options.steps, "side": options.side, "seed": options.seed, "prompt": options.prompt}
            file.write(json.dumps(line | place) + "\n")
            distance = line["distance"] or "–"
            print(f"{name:<34}{measured.seconds:>8.2f} s{measured.forwards:>5} forwards   distance {distance}")
    contact_sheet(pictures).save(options.out / "schedulers.png")


if __name__ == "__main__":
    main()
