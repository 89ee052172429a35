from dataclasses import replace

import pytest

from ownware.batching_benchmark import measure_branches, measure_gains
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from tests.pipelines.render.renders import entry


@pytest.mark.slow
def test_sizes_and_numbers_are_measured_and_a_cpu_has_equal_bits(checkpoint: Checkpoint) -> None:
    model, served = LoadedModel(checkpoint), entry("text_to_image")
    gains = list(measure_gains(served, model, [(64, 64), (64, 128)], [2, 3], steps=2, rounds=1))
    assert [(gain.width, gain.height, gain.images) for gain in gains] == [
        (64, 64, 2),
        (64, 64, 3),
        (64, 128, 2),
        (64, 128, 3),
    ]
    assert all(gain.gain > 0 and gain.joined > 0 and gain.difference == 0 for gain in gains)


def test_an_edit_is_measured_with_a_reference(checkpoint: Checkpoint) -> None:
    (gain,) = measure_gains(entry("edit"), LoadedModel(checkpoint), [(64, 64)], [2], steps=1, rounds=1)
    assert (gain.references, gain.difference) == (1, 0.0)


def test_both_branches_are_measured_once_a_size(checkpoint: Checkpoint) -> None:
    served = entry("text_to_image")
    model = LoadedModel(replace(checkpoint, batch_branches=True))  # the measurement has its own ways
    gains = list(measure_branches(served, model, [(64, 64), (64, 128)], steps=1, rounds=1))
    assert [(gain.model, gain.width, gain.height, gain.references) for gain in gains] == [
        (served.air, 64, 64, 0),
        (served.air, 64, 128, 0),
    ]
    assert all(gain.gain > 0 and gain.difference < 1e-4 for gain in gains)
    assert list(measure_branches(replace(served, true_cfg_scale=1.0), model, [(64, 64)], 1, 1)) == []
