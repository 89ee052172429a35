from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines.models.loader import Checkpoint
from tests.control import deeper, save_controlnet


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> Checkpoint:
    """Five blocks, so that nets of two and of three layers spread over them unevenly."""
    return replace(deeper(checkpoint, 5), controlnets=OrderedDict())


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def any_model(request: pytest.FixtureRequest, model: Checkpoint) -> Checkpoint:
    """Also the kind whose reference tokens are modulated at time zero."""
    return replace(deeper(model, 5, zero_cond_t=request.param), controlnets=OrderedDict())


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controlnets")
    for layers in (1, 2, 3):
        save_controlnet(checkpoint, folder / str(layers), layers, seed=layers)
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(folder / "rings.png")
    Image.linear_gradient("L").resize((30, 70)).convert("RGB").save(folder / "slope.png")
    return folder
