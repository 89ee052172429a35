"""Exponential integrators: the linear part of the flow is solved exactly, the prediction extrapolated.

DPM-Solver++ extrapolates the predicted data in the half log-SNR, DEIS the predicted noise. A step from pure noise or to
zero, on which the log-SNR is infinite, is first order, and a prediction made at pure noise is not extrapolated from.
"""

import math
from collections import deque

import torch

from pipelines.sampling.solvers.base import (
    PARABOLA_GROWTH,
    Noise,
    Velocity,
    exponential_step,
    half_log_snr,
    stochastic_step,
    with_data,
)


class DpmMultistep:
    """DPM-Solver++ multistep of order 1 to 3 (Lu et al. 2022, algorithm 2), of the ODE or, given noise, the SDE.

    Third order integrates the parabola through the last three predictions exactly. diffusers gives its curvature
    half the weight, and in the SDE form the wrong sign, which costs it the third order. `reach` is how far a line is
    extrapolated at most, in last steps: without a limit, as published, the model's own schedule makes the SDE forms
    overshoot at its end (8 steps of a mixture of two Gaussians end at a spread of 0.99 instead of 0.69; of 0.70 with a
    reach of 1).
    """

    def __init__(self, order: int, noise: Noise | None = None, reach: float = math.inf) -> None:
        self._noise, self._reach = noise, reach
        self._past: deque[tuple[torch.Tensor, float]] = deque(maxlen=order - 1)  # data, and the step that followed

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end, dtype = float(sigma), float(following), sample.dtype
        sample, data = with_data(velocity, sample, sigma)
        step = half_log_snr(end) - half_log_snr(start)
        target = data
        if math.isfinite(step):
            target = self._extrapolated(data, step)
            self._past.appendleft((data, step))
        if self._noise is None:
            moved = exponential_step(sample, target, start, end)
        else:
            moved = stochastic_step(sample, target, start, end, self._noise(sample))
        return moved.to(dtype)

    def _extrapolated(self, data: torch.Tensor, step: float) -> torch.Tensor:
        """The constant data that takes the sample where the extrapolated data would."""
        if not self._past:
            return data
        (before, last_step), *older = self._past
        if not older or step > PARABOLA_GROWTH * last_step:
            return data + (data - before) * (min(step / last_step, self._reach) / 2)
        ((oldest, older_step),) = older
        recent = (data - before) * (step / last_step)
        second = (recent - (before - oldest) * (step / older_step)) * (step / (last_step + older_step))
        first = recent + second * (last_step / step)
        # The data at u of the step is data + first·u + second·u²; each power averaged over the step's decay.
        decay = step if self._noise is None else 2 * step
        linear = 1 + math.expm1(-decay) / decay
        return data + (linear * first + (1 - 2 * linear / decay) * second) / -math.expm1(-decay)


class DpmSinglestep:
    """DPM-Solver++ (2S): steps go in pairs, the first of a pair being the midpoint of a second-order step over both.

    One forward for each step, as in diffusers' DPMSolverSinglestepScheduler.
    """

    def __init__(self) -> None:
        self._pair: tuple[torch.Tensor, torch.Tensor, float] | None = None  # sample, data and sigma where it began

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end, dtype = float(sigma), float(following), sample.dtype
        sample, data = with_data(velocity, sample, sigma)
        if self._pair is None or end == 0.0:
            self._pair = (sample, data, start) if start < 1.0 else None
            return exponential_step(sample, data, start, end).to(dtype)
        (sample, first, origin), self._pair = self._pair, None
        half, whole = (half_log_snr(sigma) - half_log_snr(origin) for sigma in (start, end))
        return exponential_step(sample, first + (data - first) * (whole / (2 * half)), origin, end).to(dtype)


class Deis:
    """DEIS of order 2 (Zhang & Chen 2022): the predicted noise is linear in log ρ, ρ = σ / (1 − σ).

    Equals diffusers' DEISMultistepScheduler, whose only form is this one.
    """

    def __init__(self) -> None:
        self._previous: tuple[torch.Tensor, float] | None = None  # noise, and −λ = log ρ where it was predicted

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end = float(sigma), float(following)
        slope = velocity(sample, sigma).to(torch.float32)
        noise = sample.to(torch.float32) + (1 - start) * slope
        moved = sample.to(torch.float32) + (end - start) * slope
        log_ratio = -half_log_snr(start)
        if self._previous is not None and end > 0.0:
            before, earlier = self._previous
            step = -half_log_snr(end) - log_ratio
            # ∫ (log ρ − log ρ₀) dρ over the step: how much one unit of slope in log ρ adds to the sample / (1 − σ).
            area = math.exp(log_ratio) * (math.exp(step) * (step - 1) + 1)
            moved = moved + (1 - end) * area / (earlier - log_ratio) * (before - noise)
        self._previous = (noise, log_ratio) if start < 1.0 else None
        return moved.to(sample.dtype)
