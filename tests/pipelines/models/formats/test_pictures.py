"""The picture of each format is near that of the folder it was made from: how near is the format's own error."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.catalog.catalog import EMBEDDED
from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.residency.model_cache import ModelCache
from pipelines.request import RenderRequest, Sampler
from tests.pipelines.models.formats.layouts import State, comfy_quant, plain_fp8, save, save_gguf, scaled_fp8, state_of

MODEL = load_catalog().with_embedded_weights().entries[0]
PROMPT = "a large red circle at the center on a white background"


def write(layout: Callable[[State], State]) -> Callable[[State, Path], Path]:
    return lambda state, folder: save(layout(state), folder / "fp8.safetensors")


def write_gguf(kind: str) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        save_gguf(state, folder / f"{kind}.gguf", kind)
        return folder / f"{kind}.gguf"

    return write


@pytest.fixture(scope="module")
def models() -> ModelCache:
    return ModelCache("cpu")


@pytest.fixture(scope="module")
def expected(models: ModelCache) -> np.ndarray:
    return draw(models, None)


def draw(models: ModelCache, transformer: Path | None) -> np.ndarray:
    entry = replace(MODEL, transformer=None if transformer is None else str(transformer))
    request = RenderRequest(entry.air, PROMPT, None, 128, 128, 4, Sampler(), 1.0, 7)
    image = generate(request, 0, models.get(entry), entry, lambda *_: None).image
    return np.asarray(image).astype(np.int16)


# Mean difference of a channel, of 255. Measured: 0.7, 0.5, 0.5, 0.1, 0.6, 2.1.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "bound"),
    [
        (write(plain_fp8), 1.0),
        (write(scaled_fp8), 1.0),
        (write(comfy_quant), 1.0),
        (write_gguf("Q8_0"), 0.3),
        (write_gguf("Q5_1"), 2.0),
        (write_gguf("Q4_0"), 4.0),
    ],
    ids=["fp8", "scaled_fp8", "comfy_quant", "Q8_0", "Q5_1", "Q4_0"],
)
def test_a_quantized_file_draws_nearly_the_same_picture(
    models: ModelCache, expected: np.ndarray, tmp_path: Path, write: Callable[[State, Path], Path], bound: float
) -> None:
    state = state_of(models.get(MODEL).checkpoint.transformer)
    found = draw(models, write(state, tmp_path))
    difference = float(np.abs(found - expected).mean())
    assert 0 < difference < bound


def test_the_embedded_weights_may_have_a_transformer_of_their_own() -> None:
    assert replace(MODEL, transformer="q8.gguf").files == ComponentFiles(EMBEDDED, "q8.gguf")
