from typing import get_args

import numpy as np
import pytest

from benchmarks.scenarios import Scenario, load_scenarios
from pipelines.catalog.catalog import REFERENCES, Mode
from pipelines.limits import is_side


@pytest.mark.parametrize("size", ["small", "full"])
def test_every_mode_and_every_start_is_compared(size: str) -> None:
    scenarios = load_scenarios(size)
    assert {scenario.mode for scenario in scenarios} == set(get_args(Mode))
    assert {scenario.start for scenario in scenarios} == {"noise", "seed image", "mask", "control image"}
    assert len({scenario.name for scenario in scenarios}) == len(scenarios)
    for scenario in scenarios:
        minimum, maximum = REFERENCES[scenario.mode]
        assert minimum <= scenario.references <= maximum
        assert is_side(scenario.side)


def test_the_images_of_a_scenario() -> None:
    scenario = Scenario("edit", "edit_plus", 128, 2, references=2)
    assert [image.size for image in scenario.reference_images()] == [(640, 480)] * 2
    assert scenario.start_image().size == (128, 128)
    mask = np.asarray(scenario.mask())
    assert mask[32:96, 32:96].min() == 255
    assert mask.sum() == 255 * 64 * 64
