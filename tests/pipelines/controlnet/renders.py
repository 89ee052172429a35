"""Small renders with ControlNets, for the tests of this folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler

WIDTH, HEIGHT = 64, 48


def picture(folder: Path, name: str) -> Reference:
    with Image.open(folder / f"{name}.png") as image:
        return Reference(folder / f"{name}.png", name, *image.size)


def use(folder: Path, layers: int = 2, image: str = "rings", **changes: Any) -> ControlUse:
    plain = ControlUse(f"net {layers}", str(folder / str(layers)), picture(folder, image))
    return replace(plain, **changes)


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def begun(model: LoadedModel, *controls: ControlUse, mode: Mode = "text_to_image", **changes: Any) -> RenderState:
    request = RenderRequest("", "a red circle", None, WIDTH, HEIGHT, 3, Sampler(), 4.0, 7, controls=controls)
    return prepare(replace(request, **changes), 0, model, entry(mode))


def ended(state: RenderState) -> torch.Tensor:
    while state.step < state.total:
        advance([state])
    return state.latents


def drawn(model: LoadedModel, *controls: ControlUse, **options: Any) -> torch.Tensor:
    return ended(begun(model, *controls, **options))
