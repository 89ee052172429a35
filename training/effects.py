"""What the LoRA and the ControlNet of an embedded checkpoint do, on held-out prompts.

    python -m training.effects [--weights build/embedded] [--count 64] [--out scores.json] [--sheet sheet.png]

Renders through the server's own loop and reads the pictures by segmentation. Knows scenes and the loop; knows no
training.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.catalog.catalog import EDGES, OUTLINES
from pipelines.request import ControlUse, LoraUse, Reference
from training.captions import exact_caption
from training.controlnet import edges
from training.evaluate import ONE_THING, Painter, Setting, held_out_scenes
from training.reading import hollow_share, shown_in
from training.sampling import Level
from training.scenes import Scene, thing_cover
from training.scoring import Scoring

# What a hollow picture can be told by: filled, these cover all of their convex hull.
_CONVEX = ("circle", "square", "triangle")
LARGE = Level(ONE_THING.things, ONE_THING.words, ("large",))
_HOLLOW = 0.25  # of the hull; drawn from scenes, an outline has at least 0.4 and a filled shape 0.02 at most


def score_lora(painter: Painter, lora: Path, count: int, setting: Setting) -> dict[str, float]:
    """Shares of pictures of one large circle, square or triangle that are hollow, with the LoRA at weights 1 and 0."""
    hollow: dict[float, list[bool]] = {1.0: [], 0.0: []}
    for seed, scene in held_out_scenes(LARGE, 2 * count):  # half of all shapes are convex
        if scene.things[0].shape in _CONVEX:
            for weight, found in hollow.items():
                found.append(hollow_share(outlined(painter, scene, seed, setting, lora, weight)) > _HOLLOW)
    return {"outlined": _mean(hollow[1.0]), "outlined at weight 0": _mean(hollow[0.0])}


def score_controlnet(painter: Painter, net: Path, count: int, setting: Setting) -> dict[str, float]:
    """Intersection over union of what is shown and the filled shape of the guide, with the net and without."""
    overlaps: dict[float, list[float]] = {1.0: [], 0.0: []}
    for seed, scene in held_out_scenes(ONE_THING, count):
        wanted = thing_cover(scene, 0, setting.width, setting.height) > 0.5
        for weight, found in overlaps.items():
            shown = shown_in(guided(painter, scene, seed, setting, net, weight))
            found.append(float((shown & wanted).sum() / (shown | wanted).sum()))
    return {"overlap": _mean(overlaps[1.0]), "overlap without it": _mean(overlaps[0.0])}


def outlined(painter: Painter, scene: Scene, seed: int, setting: Setting, lora: Path, weight: float) -> np.ndarray:
    """A scene's caption drawn with the LoRA, uint8 [H, W, 3]."""
    return painter.paint(exact_caption(scene), seed, setting, loras=(LoraUse("outlines", lora, weight),))


def guided(painter: Painter, scene: Scene, seed: int, setting: Setting, net: Path, weight: float) -> np.ndarray:
    """A scene's caption drawn with the ControlNet and the scene's edges, uint8 [H, W, 3]."""
    side = min(setting.width, setting.height)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.png"
        edges(scene, side).save(path)
        use = ControlUse("edges", str(net), Reference(path, "", side, side), weight)
        return painter.paint(exact_caption(scene), seed, setting, controls=(use,))


def contact_sheet(painter: Painter, weights: Path, count: int = 8) -> Image.Image:
    """Two rows without and with the LoRA, then three: edges, without and with the ControlNet."""
    setting = Setting(width=128, height=128)
    rows: list[list[np.ndarray]] = [[] for _ in range(5)]
    for seed, scene in held_out_scenes(LARGE, count):
        for row, weight in zip(rows[:2], (0.0, 1.0), strict=True):
            row.append(outlined(painter, scene, seed, setting, weights / OUTLINES, weight))
    for seed, scene in held_out_scenes(ONE_THING, count):
        rows[2].append(np.asarray(edges(scene, 128)))
        for row, weight in zip(rows[3:], (0.0, 1.0), strict=True):
            row.append(guided(painter, scene, seed, setting, weights / EDGES, weight))
    framed = [[np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255) for tile in row] for row in rows]
    return Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in framed]))


def _mean(values: list[bool] | list[float]) -> float:
    return round(sum(values) / len(values), 3)


def main() -> None:
    """Score, print and keep."""
    scoring = Scoring.parse(__doc__)
    painter, setting = Painter(scoring.load()), Setting()
    scores = {
        "lora": score_lora(painter, scoring.weights / OUTLINES, scoring.count, setting),
        "controlnet": score_controlnet(painter, scoring.weights / EDGES, scoring.count, setting),
    }
    scoring.keep(scores)
    if scoring.sheet:
        contact_sheet(painter, scoring.weights).save(scoring.sheet)


if __name__ == "__main__":
    main()
