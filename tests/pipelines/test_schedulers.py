import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from pipelines.request import Integrator, Sampler, Spacing
from pipelines.schedulers import Velocity, flow_sigmas, integrator

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


def stock_sigmas(steps: int, tokens: int, config: dict[str, Any], spacing: Spacing) -> torch.Tensor:
    scheduler: Any = FlowMatchEulerDiscreteScheduler(**config, use_karras_sigmas=spacing == "karras")
    mu = calculate_shift(
        tokens,
        scheduler.config.base_image_seq_len,
        scheduler.config.max_image_seq_len,
        scheduler.config.base_shift,
        scheduler.config.max_shift,
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return scheduler.sigmas


class TestSigmas:
    @pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
    @pytest.mark.parametrize("spacing", ["shifted", "karras"])
    @pytest.mark.parametrize("tokens", [16, 4096, 6144])
    @pytest.mark.parametrize("steps", [2, 8, 20, 50])
    def test_they_equal_diffusers(self, steps: int, tokens: int, config: dict[str, Any], spacing: Spacing) -> None:
        assert torch.equal(flow_sigmas(steps, tokens, config, spacing), stock_sigmas(steps, tokens, config, spacing))

    @pytest.mark.parametrize("spacing", ["shifted", "karras"])
    def test_one_step_goes_all_the_way(self, spacing: Spacing) -> None:
        assert flow_sigmas(1, 4096, QWEN, spacing).tolist() == [1.0, 0.0]

    @pytest.mark.parametrize("spacing", ["shifted", "karras"])
    def test_they_fall_from_one_over_the_terminal_to_zero(self, spacing: Spacing) -> None:
        sigmas = flow_sigmas(20, 4096, QWEN, spacing)
        assert sigmas.dtype == torch.float32
        assert sigmas[0] == 1.0
        assert sigmas[-2].item() == pytest.approx(0.02)
        assert sigmas[-1] == 0.0
        assert (sigmas.diff() < 0).all()

    def test_larger_images_stay_longer_at_high_noise(self) -> None:
        small, large = (flow_sigmas(20, tokens, QWEN, "shifted") for tokens in (256, 8192))
        assert (large[1:-2] > small[1:-2]).all()


class Gaussian:
    """Data N(mean, spread²) in one dimension, whose probability flow is known exactly."""

    mean, spread = 0.8, 0.35

    def scale(self, sigma: float) -> float:
        return math.hypot((1 - sigma) * self.spread, sigma)

    def velocity(self, sample: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        sigma = at.item()
        gain = (1 - sigma) * self.spread**2 / self.scale(sigma) ** 2
        data = self.mean + gain * (sample - (1 - sigma) * self.mean)
        return (sample - data) / sigma

    def at(self, sigma: float, quantile: torch.Tensor) -> torch.Tensor:
        return (1 - sigma) * self.mean + self.scale(sigma) * quantile


def always(velocity: torch.Tensor) -> Velocity:
    return lambda sample, sigma: velocity


def worst_error(name: Integrator, steps: int) -> float:
    """Of the integration from sigma 0.95 to 0.05 in equal steps, over a few starting points."""
    flow, moves = Gaussian(), integrator(Sampler(name))
    sigmas = torch.linspace(0.95, 0.05, steps + 1)
    quantiles = torch.tensor([-2.0, -0.5, 0.3, 1.5])
    sample = flow.at(0.95, quantiles)
    for sigma, following in pairwise(sigmas):
        sample = moves.step(flow.velocity, sample, sigma, following)
    return (sample - flow.at(0.05, quantiles)).abs().max().item()


class TestIntegrators:
    @pytest.mark.parametrize(("name", "order"), [("euler", 1), ("dpmpp_2m", 2)])
    def test_order(self, name: Integrator, order: int) -> None:
        errors = [worst_error(name, steps) for steps in (40, 80, 160)]
        orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
        assert orders == pytest.approx([order, order], abs=0.2)

    @pytest.mark.parametrize("name", ["euler", "dpmpp_2m"])
    def test_the_step_to_zero_is_the_predicted_data(self, name: Integrator) -> None:
        moves = integrator(Sampler(name))
        sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
        moves.step(always(velocity), sample, torch.tensor(0.5), torch.tensor(0.25))
        moved = moves.step(always(velocity), sample, torch.tensor(0.25), torch.tensor(0.0))
        torch.testing.assert_close(moved, sample - 0.25 * velocity)

    def test_the_first_step_from_pure_noise_is_eulers(self) -> None:
        sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
        start, end = torch.tensor(1.0), torch.tensor(0.9)
        both = [integrator(Sampler(name)).step(always(velocity), sample, start, end) for name in ("euler", "dpmpp_2m")]
        torch.testing.assert_close(both[1], both[0])

    @pytest.mark.parametrize("name", ["euler", "dpmpp_2m"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_the_whole_schedule_is_finite(self, name: Integrator, dtype: torch.dtype) -> None:
        sigmas = flow_sigmas(6, 64, QWEN, "karras")
        moves, sample = integrator(Sampler(name)), torch.randn(1, 4, 8).to(dtype)
        for sigma, following in pairwise(sigmas):
            sample = moves.step(lambda x, _: -x, sample, sigma, following)
        assert sample.dtype == dtype
        assert sample.isfinite().all()

    def test_two_images_share_no_memory(self) -> None:
        first = integrator(Sampler("dpmpp_2m"))
        sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
        half, quarter = torch.tensor(0.5), torch.tensor(0.25)
        alone = integrator(Sampler("dpmpp_2m")).step(always(velocity), sample, half, quarter)
        first.step(always(torch.randn(1, 4, 8)), sample, torch.tensor(0.9), half)
        assert torch.equal(integrator(Sampler("dpmpp_2m")).step(always(velocity), sample, half, quarter), alone)
