from pathlib import Path

import pytest
from PIL import Image

from pipelines.models.checkpoint import Checkpoint, LoadedModel
from tests.control import deeper, save_controlnet


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    """Five blocks: nets of two and of three layers spread over them unevenly."""
    return LoadedModel(deeper(checkpoint, 5))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def any_model(request: pytest.FixtureRequest, model: LoadedModel) -> LoadedModel:
    """Both kinds of model. One modulates reference tokens at time zero."""
    return LoadedModel(deeper(model.checkpoint, 5, zero_cond_t=request.param))


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controlnets")
    for layers in (1, 2, 3):
        save_controlnet(checkpoint, folder / str(layers), layers, seed=layers)
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(folder / "rings.png")
    Image.linear_gradient("L").resize((30, 70)).convert("RGB").save(folder / "slope.png")
    return folder
