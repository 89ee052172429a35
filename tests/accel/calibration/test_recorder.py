"""What the recorder writes down of real renders, which it leaves as they are."""

import pytest
import torch

from accel.calibration.recorder import Recorder
from accel.calibration.traces import LAGS
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.steps import advance
from tests.accel.calibration.renders import prepare_render, record_trace, run_all_steps
from tests.control import deeper


def test_recording_leaves_the_image_as_it_is(checkpoint: Checkpoint) -> None:
    state = prepare_render(checkpoint, 1, 4)
    state.recorder = Recorder()
    assert torch.equal(run_all_steps(state), run_all_steps(prepare_render(checkpoint, 1, 4)))


@pytest.mark.parametrize(("depth", "has_front"), [(2, False), (13, True)])
def test_each_forward_is_compared_with_the_steps_before(checkpoint: Checkpoint, depth: int, has_front: bool) -> None:
    observations = record_trace(deeper(checkpoint, depth), 1, 8).observations
    assert [(each.step, each.branch) for each in observations] == [(s, b) for s in range(8) for b in ("cond", "uncond")]
    for each in observations:
        assert len(each.first) == min(each.step, LAGS)
        assert len(each.front) == (min(each.step, LAGS) if has_front else 0)
        assert (each.input is None) == (each.residual is None) == (each.output is None) == (each.step == 0)
    sigmas = [each.sigma for each in observations[::2]]
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == 1.0


def test_the_two_forwards_of_a_heun_step_are_told_apart(checkpoint: Checkpoint) -> None:
    observations = record_trace(checkpoint, 1, 4, "heun").observations
    assert {(each.step, each.evaluation) for each in observations} == {
        (step, evaluation) for step in range(4) for evaluation in (0, 1)
    } - {(3, 1)}


def test_what_is_not_a_number_ends_the_recording(checkpoint: Checkpoint) -> None:
    state = prepare_render(checkpoint, 1, 4)
    state.recorder = Recorder()
    advance([state])
    state.latents = state.latents * float("nan")
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        advance([state])
