"""The errors of quantized transformers, on the embedded weights, against bounds that the documentation states."""

import copy
from dataclasses import replace

import pytest
import torch

from accel.weights.quantized.quantize import QuantizedPrecision, quantize
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loading.loader import in_a_block
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler
from tests.accel.weights.quantized.linears import relative_error

ENTRY = load_catalog().with_embedded_weights().entries[0]
PROMPT = "a large red circle at the center on a white background"
REQUEST = RenderRequest(ENTRY.air, PROMPT, None, 128, 128, 4, Sampler(), 1.0, 7)


def drawn(checkpoint: Checkpoint) -> torch.Tensor:
    """The latents after all steps, without guidance, which would amplify errors by as much as the CPU decides."""
    state = prepare(REQUEST, 0, LoadedModel(checkpoint), ENTRY)
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.fixture(scope="module")
def expected(trained: Checkpoint) -> torch.Tensor:
    return drawn(trained)


@pytest.mark.parametrize(
    ("precision", "most"),
    [
        ("fp8", 0.1),
        pytest.param("int8", 0.04, marks=pytest.mark.slow),
        pytest.param("nf4", 0.25, marks=pytest.mark.slow),
    ],
)
def test_the_error_of_the_latents(
    trained: Checkpoint, expected: torch.Tensor, precision: QuantizedPrecision, most: float
) -> None:
    transformer = copy.deepcopy(trained.transformer)
    quantize(transformer, precision, skip=lambda name: not in_a_block(name))
    error = relative_error(drawn(replace(trained, transformer=transformer)), expected)
    assert 0.001 < error < most
