"""What is learnt from some images says how long others take."""

from dataclasses import replace
from math import nan
from typing import get_args

import pytest
import torch

from pipelines.request import FaceRefinement, Reference, Sampler, SolverName
from pipelines.sampling.evaluations import expected_timesteps
from pipelines.sampling.sigmas import sigmas_on
from server.jobs.estimates import ASSUMED_TOKEN_SECONDS, TWO_EVALUATIONS, Estimates, Measured, group_of, step_tokens
from tests.server.jobs.common import REQUEST

PLAIN = replace(REQUEST, references=(), sampler=Sampler(), width=512, height=512, steps=20, count=1)
PICTURE = Reference(REQUEST.references[0].path, "hash", 512, 512)


def taught(step: float = 0.5, rest: float = 2.0) -> Estimates:
    estimates = Estimates()
    estimates.learn(PLAIN, Measured(step, rest))
    return estimates


def test_a_request_that_was_measured() -> None:
    estimates = taught()
    assert estimates.knows(PLAIN)
    assert estimates.step_seconds(PLAIN) == pytest.approx(0.5)
    assert estimates.rest_seconds(PLAIN) == 2.0
    assert estimates.seconds(PLAIN) == pytest.approx(20 * 0.5 + 2)
    assert estimates.seconds(replace(PLAIN, count=3, steps=10)) == pytest.approx(3 * (10 * 0.5 + 2))


def test_what_is_left_of_a_request() -> None:
    estimates, request = taught(), replace(PLAIN, count=3)
    assert estimates.remaining_seconds(request, 1, 5) == pytest.approx(2 * 12 - 5 * 0.5)
    assert estimates.remaining_seconds(request, 2, 20) == pytest.approx(2.0)
    assert estimates.remaining_seconds(request, 3, 20) == 0.0


@pytest.mark.parametrize(
    "larger",
    [
        replace(PLAIN, width=1024),
        replace(PLAIN, references=(PICTURE,)),
        replace(PLAIN, sampler=Sampler("heun")),
    ],
)
def test_larger_steps_take_longer_in_proportion(larger: object) -> None:
    assert isinstance(larger, type(PLAIN))
    estimates = taught()
    assert not estimates.knows(larger)
    factor = step_tokens(larger) / step_tokens(PLAIN)
    assert factor > 1.5
    assert estimates.step_seconds(larger) == pytest.approx(0.5 * factor)


def test_the_nearest_known_request_counts() -> None:
    estimates = taught()
    near, far = replace(PLAIN, width=1024), replace(PLAIN, width=2048, height=2048)
    estimates.learn(far, Measured(100.0, 9.0))
    assert estimates.rest_seconds(near) == 2.0
    assert estimates.rest_seconds(replace(far, width=1792)) == 9.0
    estimates.learn(replace(PLAIN, references=(PICTURE,)), Measured(1.0, 5.0))
    assert estimates.rest_seconds(replace(PLAIN, references=(PICTURE, PICTURE))) == 5.0


def test_another_model_tells_nothing_and_an_unmeasured_one_is_assumed_to_be_fast() -> None:
    other = replace(PLAIN, model="runware:1@1")
    assert taught().step_seconds(other) == pytest.approx(ASSUMED_TOKEN_SECONDS * step_tokens(other))
    assert Estimates().seconds(PLAIN) < 5  # 512², 20 steps: 0.7 s on two cores


def test_without_guidance_a_step_has_half_the_tokens() -> None:
    assert step_tokens(replace(PLAIN, true_cfg_scale=1.0)) * 2 == step_tokens(PLAIN)


def test_later_measurements_count_more_and_a_single_slow_one_little() -> None:
    estimates = taught(1.0, 1.0)
    estimates.learn(PLAIN, Measured(1000.0, 1000.0))
    assert estimates.step_seconds(PLAIN) == pytest.approx(1.3)
    for _ in range(20):
        estimates.learn(PLAIN, Measured(0.25, 0.5))
    assert estimates.step_seconds(PLAIN) == pytest.approx(0.25, rel=0.01)
    assert estimates.rest_seconds(PLAIN) == pytest.approx(0.5, rel=0.01)


def test_a_rest_of_nothing_can_grow_again() -> None:
    estimates = taught(1.0, 0.0)
    estimates.learn(PLAIN, Measured(1.0, 10.0))
    assert estimates.rest_seconds(PLAIN) == pytest.approx(3.0)


@pytest.mark.parametrize("measured", [Measured(nan, 1), Measured(0, 1), Measured(-1, 1), Measured(1, -1)])
def test_a_measurement_that_cannot_be_is_ignored(measured: Measured) -> None:
    estimates = Estimates()
    assert estimates.learn(PLAIN, measured) is None
    assert not estimates.knows(PLAIN)


def test_what_was_learnt_can_be_kept_and_given_back() -> None:
    learnt = Estimates().learn(PLAIN, Measured(0.5, 2.0))
    assert learnt is not None
    assert learnt[0] == group_of(PLAIN)
    assert Estimates([learnt]).seconds(PLAIN) == pytest.approx(12.0)


def test_the_face_that_may_be_refined_counts() -> None:
    faces = replace(PLAIN, faces=FaceRefinement("a face", None, steps=20, strength=0.5))
    assert taught().seconds(faces) == pytest.approx(12.0 + 10 * 0.5)


@pytest.mark.parametrize("solver", get_args(SolverName))
def test_the_solvers_that_evaluate_twice(solver: SolverName) -> None:
    """PNDM evaluates twice in its first steps only."""
    sigmas = sigmas_on(torch.device("cpu"), torch.linspace(1, 0, 21))
    evaluations = sum(map(len, expected_timesteps(Sampler(solver), sigmas, torch.float32))) / 20
    assert (evaluations > 1.5) == (solver in TWO_EVALUATIONS)
