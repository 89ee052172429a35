from dataclasses import replace

import pytest
import torch

from accel.weights.quantized.quantize import QuantizedPrecision
from benchmarks.costs import (
    batch_costs,
    controlnet_costs,
    decoding_costs,
    decoding_memory,
    embedding_costs,
    lora_costs,
    thread_costs,
)
from benchmarks.random_models import ModelSize, RandomModels

SMALL = replace(ModelSize.load("small"), side=64)


@pytest.fixture(scope="module")
def models() -> RandomModels:
    return RandomModels.build(SMALL, torch.device("cpu"))


def test_a_lora(models: RandomModels) -> None:
    figures = lora_costs(models, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert 0 < figures["switch_in_steps"] < figures["first_use_in_steps"]


@pytest.mark.slow
def test_a_controlnet(models: RandomModels) -> None:
    figures = controlnet_costs(models, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert (figures["layers"], figures["blocks"]) == (1, 2)


@pytest.mark.parametrize("precision", [None, pytest.param("fp8", marks=pytest.mark.slow)])
def test_both_branches_as_one_batch(precision: QuantizedPrecision | None) -> None:
    figures = batch_costs(SMALL, torch.device("cpu"), precision, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert (figures["side"], figures["largest_difference"] < 1e-4) == (64, True)


@pytest.mark.slow
def test_threads(models: RandomModels) -> None:
    before = torch.get_num_threads()
    figures = thread_costs(models, repeats=1)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert 0 < figures["clock_min"] <= figures["clock_ratio"] <= figures["clock_max"]
    assert torch.get_num_threads() == before


def test_decoding(models: RandomModels) -> None:
    figures = decoding_costs(models, 64, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert figures["channels_last_ratio"] > 0
    assert figures["channels_last_difference"] < 1e-5


def test_embeddings() -> None:
    figures = embedding_costs("cpu", repeats=1)
    assert 0 < figures["kept"] < figures["anew"]


@pytest.mark.slow
def test_decoding_takes_memory(models: RandomModels) -> None:
    figures = decoding_memory(models, 256)
    pixels = 256 * 256 * 4 / 2**20
    assert figures["ours"] > SMALL.vae["base_dim"] * pixels  # one layer's result at full size at the least
    assert figures["diffusers"] > figures["ours"]
