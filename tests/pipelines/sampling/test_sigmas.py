import math
from functools import cache
from types import SimpleNamespace
from typing import Any, get_args

import mpmath
import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from diffusers.schedulers import scheduling_flow_match_euler_discrete as stock
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from pipelines.request import Sampler, ScheduleName
from pipelines.sampling.sigmas import Sigma, flow_sigmas, scheduler_config, sigmas_on

QWEN = {
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 0.9,
    "base_image_seq_len": 256,
    "max_image_seq_len": 8192,
    "shift_terminal": 0.02,
}
CONFIGS = {
    "qwen": QWEN,
    "lightning": QWEN | {"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None},
    "linear": QWEN | {"time_shift_type": "linear"},
    "static": {"shift": 3.0, "use_dynamic_shifting": False},
    "plain": {},
}


SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)


@cache
def beta_quantile(probability: float, alpha: float, beta: float) -> float:
    """Stands in for scipy's quantiles, which diffusers calls."""
    if probability in (0.0, 1.0):
        return probability
    root = mpmath.findroot(
        lambda x: mpmath.betainc(alpha, beta, 0, x, regularized=True) - probability, (1e-9, 1 - 1e-9), "anderson"
    )
    return float(root)


@pytest.fixture
def beta_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(stats=SimpleNamespace(beta=SimpleNamespace(ppf=beta_quantile)))
    monkeypatch.setattr(stock, "scipy", fake, raising=False)
    monkeypatch.setattr(stock, "is_scipy_available", lambda: True)


def stock_sigmas(steps: int, tokens: int, config: dict[str, Any], schedule: ScheduleName) -> torch.Tensor:
    """diffusers' sigmas. Without shift and terminal, its schedule is the uniform one."""
    respacing = schedule.removeprefix("uniform_")
    respaced: dict[str, Any] = (
        {f"use_{respacing}_sigmas": True} if respacing in ("karras", "exponential", "beta") else {}
    )
    scheduler: Any = FlowMatchEulerDiscreteScheduler(**({} if schedule.startswith("uniform") else config), **respaced)
    mu = calculate_shift(
        tokens,
        scheduler.config.base_image_seq_len,
        scheduler.config.max_image_seq_len,
        scheduler.config.base_shift,
        scheduler.config.max_shift,
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return scheduler.sigmas


@pytest.mark.usefixtures("beta_without_scipy")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 20, pytest.param(8, marks=pytest.mark.slow)])
def test_they_equal_diffusers(steps: int, config: dict[str, Any], schedule: ScheduleName) -> None:
    for tokens in (16, 4096, 6144):
        assert torch.equal(flow_sigmas(steps, tokens, config, schedule), stock_sigmas(steps, tokens, config, schedule))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_goes_all_the_way(schedule: ScheduleName) -> None:
    assert flow_sigmas(1, 4096, QWEN, schedule).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_they_fall_from_one_over_the_last_to_zero(schedule: ScheduleName) -> None:
    sigmas = flow_sigmas(20, 4096, QWEN, schedule)
    assert sigmas.dtype == torch.float32
    assert sigmas[0] == 1.0
    assert sigmas[-2].item() == pytest.approx(1 / 20 if schedule.startswith("uniform") else 0.02)
    assert sigmas[-1] == 0.0
    assert (sigmas.diff() < 0).all()


def test_larger_images_stay_longer_at_high_noise() -> None:
    small, large = (flow_sigmas(20, tokens, QWEN, "shifted") for tokens in (256, 8192))
    assert (large[1:-2] > small[1:-2]).all()


def test_uniform_steps_know_neither_size_nor_configuration() -> None:
    torch.testing.assert_close(flow_sigmas(20, 16, QWEN, "uniform"), torch.linspace(1, 0, 21))


# The schedule of Qwen-Image-Lightning: shift 3 and no terminal sigma.
LIGHTNING_SIGMAS = {
    4: [1, 0.9, 0.75, 0.5, 0],
    8: [1, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3, 0],
}


@pytest.mark.parametrize("steps", LIGHTNING_SIGMAS)
@pytest.mark.parametrize("tokens", [256, 4096, 8100])
@pytest.mark.parametrize("config", ["qwen", "static", "plain"])
def test_a_shift_of_the_sampler_is_exact_at_every_size(steps: int, tokens: int, config: str) -> None:
    sampler = Sampler(shift=3.0, terminal=0.0)
    sigmas = flow_sigmas(steps, tokens, scheduler_config(CONFIGS[config], sampler), "shifted")
    torch.testing.assert_close(sigmas, torch.tensor(LIGHTNING_SIGMAS[steps], dtype=torch.float32), atol=1e-6, rtol=0)
    published = stock_sigmas(steps, tokens, CONFIGS["lightning"], "shifted")
    if config == "qwen":
        assert torch.equal(sigmas, published)


def test_without_them_the_configuration_is_the_checkpoints() -> None:
    assert scheduler_config(QWEN, Sampler()) == QWEN
    assert scheduler_config(QWEN, Sampler(terminal=0.1)) == QWEN | {"shift_terminal": 0.1}


def test_the_number_of_a_sigma_is_that_of_its_tensor() -> None:
    expected = flow_sigmas(7, 64, QWEN, "shifted")
    sigmas = sigmas_on(torch.device("cpu"), expected)
    assert torch.equal(torch.stack([sigma.tensor for sigma in sigmas]), expected)
    for sigma in (*sigmas, sigmas[0].at(1 / 3), sigmas[0].at(0.0)):
        assert sigma.number == sigma.tensor.item()
        assert (sigma.tensor.shape, sigma.tensor.dtype) == ((), torch.float32)


def test_a_sigma_between_two_is_what_torch_makes_of_the_number() -> None:
    for number in np.random.default_rng(0).random(100).tolist():
        assert torch.equal(Sigma(1.0, torch.ones(())).at(number).tensor, torch.ones(()).new_tensor(number))
