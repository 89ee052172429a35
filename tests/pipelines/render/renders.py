"""Small requests, and whole renders of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish
from pipelines.request import RenderRequest, Sampler


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def asked(**changes: Any) -> RenderRequest:
    plain = RenderRequest("", "a red circle", None, 64, 48, 3, Sampler(), 4.0, 7)
    return replace(plain, **changes)


def begun(checkpoint: Checkpoint, request: RenderRequest, index: int = 0, mode: Mode = "text_to_image") -> RenderState:
    return prepare(request, index, LoadedModel(checkpoint), entry(mode))


def drawn(checkpoint: Checkpoint, request: RenderRequest, index: int = 0, mode: Mode = "text_to_image") -> np.ndarray:
    state = begun(checkpoint, request, index, mode)
    while state.step < state.total:
        advance([state])
    return np.asarray(finish(state))


class Counting(torch.nn.Module):
    """A transformer that counts its forwards."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.config = transformer.config
        self.forwards = 0

    def forward(self, **inputs: Any) -> Any:
        self.forwards += 1
        return self.transformer(**inputs)
