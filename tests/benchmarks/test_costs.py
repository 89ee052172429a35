from dataclasses import replace

import pytest
import torch

from benchmarks.costs import controlnet_costs, decoding_memory, encoding_costs, lora_costs
from benchmarks.pipeline import SMALL, Bench, Case


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.build(replace(SMALL, cases=(Case("small", "text_to_image", 64, 2),)), torch.device("cpu"))


def test_a_lora(bench: Bench) -> None:
    figures = lora_costs(bench, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert 0 < figures["switch_in_steps"] < figures["first_use_in_steps"]


def test_a_controlnet(bench: Bench) -> None:
    figures = controlnet_costs(bench, repeats=2)
    assert 0 < figures["min"] <= figures["ratio"] <= figures["max"]
    assert (figures["layers"], figures["blocks"]) == (1, 2)


def test_encodings() -> None:
    figures = encoding_costs("cpu", repeats=1)
    assert 0 < figures["kept"] < figures["anew"]


def test_decoding_takes_memory(bench: Bench) -> None:
    figures = decoding_memory(bench, 512)
    pixels = 512 * 512 * 4 / 2**20
    assert figures["ours"] > SMALL.vae["base_dim"] * pixels  # one layer's result at full size at the least
    assert figures["diffusers"] > figures["ours"]
