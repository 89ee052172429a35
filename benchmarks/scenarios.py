"""The requests that are compared with diffusers, from a TOML file, and the images that they start from."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from pipelines.catalog.catalog import Mode

SCENARIOS = Path(__file__).with_name("scenarios.toml")


@dataclass(frozen=True)
class Scenario:
    """One request. `picture` says whether the latents are decoded, `start` what the image starts from."""

    name: str
    mode: Mode
    side: int
    steps: int
    references: int = 0
    picture: bool = True
    start: Literal["noise", "seed image", "mask", "control image"] = "noise"

    def reference_images(self) -> list[Image.Image]:
        """The images to edit, 4 : 3."""
        return [Image.radial_gradient("L").resize((640, 480)).convert("RGB")] * self.references

    def start_image(self) -> Image.Image:
        """The seed image or the control image."""
        return Image.radial_gradient("L").resize((self.side, self.side)).convert("RGB")

    def mask(self) -> Image.Image:
        """White in the middle half, along the edges of latent pixels."""
        mask = Image.new("L", (self.side, self.side))
        quarter = self.side // 4 // 16 * 16
        mask.paste(255, (quarter, quarter, self.side - quarter, self.side - quarter))
        return mask


def load_scenarios(size: str) -> list[Scenario]:
    """The rows of `scenarios.toml` for a size of the models."""
    return [Scenario(**row) for row in tomllib.loads(SCENARIOS.read_text(encoding="utf-8"))[size]]
