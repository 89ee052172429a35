"""Scores the LoRAs and the ControlNet of an embedded checkpoint on held-out prompts.

    python -m training.scores.evaluate_adapters [--weights DIR] [--count 64] [--out scores.json] [--sheet sheet.png]

Renders through the server's own loop and measures the pictures. Knows scenes and the loop; knows no training.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.catalog.catalog import EDGES, FOUR_STEPS, LIGHTNING, OUTLINES
from pipelines.request import ControlUse, LoraUse, Reference
from training.data.captions import exact_caption
from training.data.random_scenes import Level
from training.data.scenes import Scene, thing_cover
from training.scores.evaluate import ONE_THING, Renderer, RenderOptions, held_out_scenes
from training.scores.measure import foreground_mask, hollow_share, matches_scene
from training.scores.scoring import Scoring
from training.trainers.controlnet import draw_edges
from training.trainers.lightning import SAMPLER

# Filled, these shapes cover all of their convex hull.
_CONVEX = ("circle", "square", "triangle")
LARGE = Level(ONE_THING.things, ONE_THING.words, ("large",))
_HOLLOW = 0.25  # of the hull; drawn outlines have at least 0.4, filled shapes at most 0.02


def score_lora(renderer: Renderer, lora: Path, count: int, options: RenderOptions) -> dict[str, float]:
    """Return the shares of hollow circles, squares and triangles, with the LoRA at weights 1 and 0."""
    hollow: dict[float, list[bool]] = {1.0: [], 0.0: []}
    for seed, scene in held_out_scenes(LARGE, 2 * count):  # half of all shapes are convex
        if scene.things[0].shape in _CONVEX:
            for weight, found in hollow.items():
                found.append(hollow_share(render_outlined(renderer, scene, seed, options, lora, weight)) > _HOLLOW)
    return {"outlined": _mean(hollow[1.0]), "outlined at weight 0": _mean(hollow[0.0])}


def score_controlnet(renderer: Renderer, net: Path, count: int, options: RenderOptions) -> dict[str, float]:
    """Return the IoU of the foreground and the shape of the control image, with the net and without."""
    overlaps: dict[float, list[float]] = {1.0: [], 0.0: []}
    for seed, scene in held_out_scenes(ONE_THING, count):
        wanted = thing_cover(scene, 0, options.width, options.height) > 0.5
        for weight, found in overlaps.items():
            shown = foreground_mask(render_controlled(renderer, scene, seed, options, net, weight))
            found.append(float((shown & wanted).sum() / (shown | wanted).sum()))
    return {"overlap": _mean(overlaps[1.0]), "overlap without it": _mean(overlaps[0.0])}


def score_lightning(renderer: Renderer, lora: Path, count: int, options: RenderOptions) -> dict[str, float]:
    """Return the shares of single things that are all right in four steps, with the LoRA and with guidance instead."""
    steps = FOUR_STEPS.steps or 0
    fast = replace(options, steps=steps, true_cfg_scale=1.0, sampler=SAMPLER)
    right: dict[str, list[bool]] = {"with it": [], "without it": []}
    for seed, scene in held_out_scenes(ONE_THING, count):
        caption = exact_caption(scene)
        with_it = renderer.render(caption, seed, fast, loras=(LoraUse("lightning", lora),))
        without_it = renderer.render(caption, seed, replace(options, steps=steps))
        for found, picture in zip(right.values(), (with_it, without_it), strict=True):
            found.append(matches_scene(picture, scene))
    return {name: _mean(found) for name, found in right.items()}


def render_outlined(
    renderer: Renderer, scene: Scene, seed: int, options: RenderOptions, lora: Path, weight: float
) -> np.ndarray:
    """Render the caption of a scene with the LoRA, uint8 [H, W, 3]."""
    return renderer.render(exact_caption(scene), seed, options, loras=(LoraUse("outlines", lora, weight),))


def render_controlled(
    renderer: Renderer, scene: Scene, seed: int, options: RenderOptions, net: Path, weight: float
) -> np.ndarray:
    """Render the caption of a scene with the ControlNet and the edges of the scene, uint8 [H, W, 3]."""
    side = min(options.width, options.height)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.png"
        draw_edges(scene, side).save(path)
        use = ControlUse("edges", str(net), Reference(path, "", side, side), weight)
        return renderer.render(exact_caption(scene), seed, options, controls=(use,))


def contact_sheet(renderer: Renderer, weights: Path, count: int = 8) -> Image.Image:
    """Draw two rows without and with the LoRA, then three: edges, without and with the ControlNet."""
    options = RenderOptions(width=128, height=128)
    rows: list[list[np.ndarray]] = [[] for _ in range(5)]
    for seed, scene in held_out_scenes(LARGE, count):
        for row, weight in zip(rows[:2], (0.0, 1.0), strict=True):
            row.append(render_outlined(renderer, scene, seed, options, weights / OUTLINES, weight))
    for seed, scene in held_out_scenes(ONE_THING, count):
        rows[2].append(np.asarray(draw_edges(scene, 128)))
        for row, weight in zip(rows[3:], (0.0, 1.0), strict=True):
            row.append(render_controlled(renderer, scene, seed, options, weights / EDGES, weight))
    framed = [[np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255) for tile in row] for row in rows]
    return Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in framed]))


def _mean(values: list[bool] | list[float]) -> float:
    return round(sum(values) / len(values), 3)


def main() -> None:
    """Score, print and save."""
    scoring = Scoring.parse(__doc__, sheet=True)
    renderer, options = Renderer(scoring.load(), scoring.area), RenderOptions()
    scores = {
        "lora": score_lora(renderer, scoring.weights / OUTLINES, scoring.count, options),
        "controlnet": score_controlnet(renderer, scoring.weights / EDGES, scoring.count, options),
    }
    if (lightning := scoring.weights / LIGHTNING).is_file():
        scores["lightning, 4 steps"] = score_lightning(renderer, lightning, scoring.count, options)
    scoring.save_scores(scores)
    if scoring.sheet:
        scoring.save_sheet(contact_sheet(renderer, scoring.weights))


if __name__ == "__main__":
    main()
