from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from accel.kernels.vector_math import FUNCTIONS
from pipelines.catalog.catalog import Mode
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loading.loader import load
from pipelines.request import Reference, RenderRequest, Sampler

NAMES = {function.__name__ for function in FUNCTIONS}


class FirstCalls(TorchDispatchMode):
    """On how many values each of MKL's functions was first called, by precision."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[str, torch.dtype], int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.removesuffix("_")
        if name in NAMES and args[0].is_floating_point():
            self.seen.setdefault((name, args[0].dtype), args[0].numel())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["text_to_image", "edit"])
def test_from_loading_to_a_picture_no_function_is_first_called_by_several_threads(
    mode: Mode, weights: Path, tmp_path: Path
) -> None:
    entry = replace(next(e for e in load_catalog().entries if e.mode == mode), reference_area=64 * 64)
    path = tmp_path / "reference.png"
    Image.radial_gradient("L").resize((64, 64)).convert("RGB").save(path)
    pictures = (Reference(path, "", 64, 64),) if mode == "edit" else ()
    request = RenderRequest("", "a red circle", None, 64, 64, 2, Sampler(), 4.0, 7, references=pictures)
    with FirstCalls() as calls:
        checkpoint = load(str(weights), torch.device("cpu"), torch.float32, with_vision=True)
        generate(request, 0, LoadedModel(checkpoint), entry, lambda step, total: None)
    assert {("cos", torch.float32), ("sin", torch.float32)} <= calls.seen.keys()
    assert {first for first, count in calls.seen.items() if count > 1} == set()
