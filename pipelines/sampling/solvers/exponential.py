"""Exponential integrators: they solve the linear part of the flow exactly and extrapolate the model's prediction.

DPM-Solver++ extrapolates the predicted x0 in the half log-SNR, DEIS the predicted noise. The log-SNR is infinite at
pure noise and at zero, so a step from the one or to the other is first order. A prediction at pure noise is not
extrapolated from.
"""

import math
from collections import deque

import torch

from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import (
    MAX_STEP_GROWTH,
    Noise,
    Velocity,
    first_order_update,
    half_log_snr,
    predict_x0,
    sde_first_order_update,
)


class DpmMultistep:
    """DPM-Solver++ multistep of order 1 to 3 (Lu et al. 2022, algorithm 2). It solves the SDE if given noise.

    Third order integrates the parabola through the last three predictions exactly. diffusers halves the weight of its
    curvature, and has the wrong sign in the SDE form, which loses the third order. `max_extrapolation` limits how far a
    line is extrapolated, in last steps. Without the limit, as published, the SDE forms overshoot at the end of the
    model's own schedule: 8 steps of a mixture of two Gaussians end at a spread of 0.99 instead of 0.69, and at 0.70
    with a limit of 1.
    """

    def __init__(self, order: int, noise: Noise | None = None, max_extrapolation: float = math.inf) -> None:
        self._noise, self._max_extrapolation = noise, max_extrapolation
        self._history: deque[tuple[torch.Tensor, float]] = deque(maxlen=order - 1)  # x0, and the step h that followed

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        start, end, dtype = sigma.number, sigma_next.number, sample.dtype
        sample, x0 = predict_x0(velocity, sample, sigma)
        h = half_log_snr(end) - half_log_snr(start)
        mean_x0 = x0
        if math.isfinite(h):
            mean_x0 = self._extrapolate(x0, h)
            self._history.appendleft((x0, h))
        if self._noise is None:
            sample_next = first_order_update(sample, mean_x0, start, end)
        else:
            sample_next = sde_first_order_update(sample, mean_x0, start, end, self._noise(sample))
        return sample_next.to(dtype)

    def _extrapolate(self, x0: torch.Tensor, h: float) -> torch.Tensor:
        """Return the constant x0 whose first-order update equals the update of the extrapolated x0."""
        if not self._history:
            return x0
        (x0_last, h_last), *older = self._history
        if not older or h > MAX_STEP_GROWTH * h_last:
            return x0 + (x0 - x0_last) * (min(h / h_last, self._max_extrapolation) / 2)
        ((x0_before, h_before),) = older
        difference = (x0 - x0_last) * (h / h_last)
        second = (difference - (x0_last - x0_before) * (h / h_before)) * (h / (h_last + h_before))
        first = difference + second * (h_last / h)
        # The x0 at u of the step is x0 + first·u + second·u². Each power is averaged over the decay of the step.
        decay = h if self._noise is None else 2 * h
        linear = 1 + math.expm1(-decay) / decay
        return x0 + (linear * first + (1 - 2 * linear / decay) * second) / -math.expm1(-decay)


class DpmSinglestep:
    """DPM-Solver++ (2S): steps go in pairs, and the first ends at the midpoint of a second-order step over both.

    Each step takes one forward, as in diffusers' DPMSolverSinglestepScheduler.
    """

    def __init__(self) -> None:
        self._pair_start: tuple[torch.Tensor, torch.Tensor, float] | None = None  # sample, x0, sigma

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        mid, end, dtype = sigma.number, sigma_next.number, sample.dtype
        sample, x0 = predict_x0(velocity, sample, sigma)
        if self._pair_start is None or end == 0.0:
            self._pair_start = (sample, x0, mid) if mid < 1.0 else None
            return first_order_update(sample, x0, mid, end).to(dtype)
        (sample, x0_start, start), self._pair_start = self._pair_start, None
        half, whole = (half_log_snr(sigma) - half_log_snr(start) for sigma in (mid, end))
        return first_order_update(sample, x0_start + (x0 - x0_start) * (whole / (2 * half)), start, end).to(dtype)


class Deis:
    """DEIS of order 2 (Zhang & Chen 2022): the predicted noise is linear in log ρ, with ρ = σ / (1 − σ).

    Equals diffusers' DEISMultistepScheduler, which has this form only.
    """

    def __init__(self) -> None:
        self._last: tuple[torch.Tensor, float] | None = None  # the predicted noise, and −λ = log ρ of its sigma

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        start, end = sigma.number, sigma_next.number
        v = velocity(sample, sigma.tensor).to(torch.float32)
        noise = sample.to(torch.float32) + (1 - start) * v
        sample_next = sample.to(torch.float32) + (end - start) * v
        log_rho = -half_log_snr(start)
        if self._last is not None and end > 0.0:
            noise_last, log_rho_last = self._last
            h = -half_log_snr(end) - log_rho
            # ∫ (log ρ − log ρ₀) dρ over the step: the effect of a unit slope in log ρ on the sample / (1 − σ).
            area = math.exp(log_rho) * (math.exp(h) * (h - 1) + 1)
            sample_next = sample_next + (1 - end) * area / (log_rho_last - log_rho) * (noise_last - noise)
        self._last = (noise, log_rho) if start < 1.0 else None
        return sample_next.to(sample.dtype)
