"""The shared part of the commands that score a checkpoint: options, loading, and the file of scores.

Knows no score itself.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipelines.catalog.catalog import EMBEDDED_FOLDER, trained_area
from pipelines.catalog.weights_fingerprint import fingerprint
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.loader import load


@dataclass(frozen=True, slots=True)
class Scoring:
    """The options of one run. `out` is the file of scores, `sheet` the file of the contact sheet."""

    weights: Path
    count: int
    out: Path | None
    sheet: Path | None

    @classmethod
    def parse(cls, description: str | None, *, sheet: bool = False, count: int = 64) -> "Scoring":
        """Parse the command line of a command that draws a `sheet` or none."""
        parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
        parser.add_argument("--weights", type=Path, default=EMBEDDED_FOLDER, help="a folder in the diffusers layout")
        parser.add_argument("--count", type=int, default=count, help="about how many held-out prompts per score")
        parser.add_argument("--out", type=Path, help="merge the scores into this JSON file")
        parser.set_defaults(sheet=None)
        if sheet:
            parser.add_argument("--sheet", type=Path, help="write a contact sheet here, as PNG")
        options = parser.parse_args()
        return cls(options.weights.resolve(), options.count, options.out, options.sheet)

    @property
    def area(self) -> int:
        """The pixels of the images that the checkpoint was trained on."""
        return trained_area(self.weights)

    def load(self) -> Checkpoint:
        """Load the checkpoint on the CPU, for which the required scores are set."""
        return load(str(self.weights), torch.device("cpu"), torch.float32, with_vision=True)

    def save_scores(self, scores: dict[str, dict[str, float]]) -> None:
        """Print the scores, and replace those of the same names in the file. Scores of other weights are dropped."""
        for name, values in scores.items():
            print(f"{name:28s}", "  ".join(f"{key} {value}" for key, value in values.items()))
        if self.out:
            weights = fingerprint(str(self.weights))
            found = json.loads(self.out.read_text()) if self.out.is_file() else {}
            if found.get("weights") != weights:
                found = {"weights": weights}
            self.out.write_text(json.dumps(found | scores, indent=1) + "\n")

    def save_sheet(self, sheet: Image.Image) -> None:
        """Write a contact sheet. Its text chunk `weights` has the fingerprint of the weights that were scored."""
        if self.sheet:
            text = PngInfo()
            text.add_text("weights", str(fingerprint(str(self.weights))))
            sheet.save(self.sheet, "PNG", pnginfo=text)
