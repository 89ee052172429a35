from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.pipeline import Comparison, compare, difference
from benchmarks.random_models import ModelSize, RandomModels
from benchmarks.scenarios import Scenario

SCENARIOS = [
    Scenario("loop alone", "text_to_image", 64, 2, picture=False),
    Scenario("picture", "text_to_image", 64, 2),
    Scenario("edit", "edit", 64, 2, references=1),
    Scenario("edit plus", "edit_plus", 64, 2, references=2),
    Scenario("seed image", "text_to_image", 64, 3, start="seed image"),
    Scenario("mask", "text_to_image", 64, 3, start="mask"),
    Scenario("control image", "text_to_image", 64, 3, start="control image"),
]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    size = replace(ModelSize.load("small"), reference_area=64 * 64, condition_area=32 * 32)
    return Comparison(RandomModels.build(size, torch.device("cpu")))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_both_sides_render_the_same(comparison: Comparison, scenario: Scenario) -> None:
    # Grey levels: the folded VAE is a rounding away.
    assert difference(comparison, scenario) <= (2 if scenario.picture else 0)


@pytest.mark.slow
def test_a_comparison_has_times_and_memory(comparison: Comparison) -> None:
    found = compare(comparison, SCENARIOS[0], repeats=2)
    assert found["difference"] == 0
    assert found["ratio"]["min"] <= found["ratio"]["median"] <= found["ratio"]["max"]
    assert found["ours"] > 0
    assert found["peak_mib"]["ratio"] > 0


def test_the_compared_image_is_not_flat(comparison: Comparison) -> None:
    assert np.asarray(comparison.ours(SCENARIOS[1])).std() > 10
