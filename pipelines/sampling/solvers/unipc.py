"""UniPC: a predictor, and a corrector that reuses the forward of the next step (Zhao et al. 2023, form B2(h))."""

import math
from collections import deque

import numpy as np
import torch

from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import MAX_STEP_GROWTH, Velocity, first_order_update, half_log_snr, predict_x0

Point = tuple[float, torch.Tensor]  # half log-SNR, and the x0 predicted there


class UniPC:
    """UniPC of order 2 or 3. Equals diffusers' UniPCMultistepScheduler with `bh2` on schedules without long steps.

    The sample given to a step is the prediction of the last step. It is corrected with the model's prediction on it
    before the step goes on. The log-SNR is infinite at pure noise and at zero, so a step from the one or to the other
    is first order.
    """

    def __init__(self, order: int) -> None:
        self._history: deque[Point] = deque(maxlen=order - 1)
        self._last: tuple[torch.Tensor, torch.Tensor, float, list[Point]] | None = None  # sample, x0, sigma, points

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        start, end, dtype = sigma.number, sigma_next.number, sample.dtype
        sample, x0 = predict_x0(velocity, sample, sigma)
        lambda_start = half_log_snr(start)
        if self._last is not None:
            sample_last, x0_last, sigma_last, points = self._last
            sample = _update(sample_last, x0_last, sigma_last, start, [*points, (lambda_start, x0)])
        points = self._points(lambda_start, half_log_snr(end) - lambda_start)
        sample_next = _update(sample, x0, start, end, points)
        self._last = (sample, x0, start, points)
        if math.isfinite(lambda_start):
            self._history.appendleft((lambda_start, x0))
        return sample_next.to(dtype)

    def _points(self, lambda_start: float, h: float) -> list[Point]:
        """The earlier predictions that a step of length `h` is extrapolated from."""
        if not math.isfinite(h):
            return []
        long = bool(self._history) and h > MAX_STEP_GROWTH * (lambda_start - self._history[0][0])
        return list(self._history)[: 1 if long else None]


def _update(
    sample: torch.Tensor, x0: torch.Tensor, sigma: float, sigma_next: float, points: list[Point]
) -> torch.Tensor:
    """Move from `sigma`, where `x0` is predicted, to `sigma_next`, with the predictions at other points."""
    origin = half_log_snr(sigma)
    h = half_log_snr(sigma_next) - origin
    ratios = [(at - origin) / h if math.isfinite(h) else 1.0 for at, _ in points]
    mean_x0 = x0
    for weight, ratio, (_, other) in zip(_weights(ratios, h), ratios, points, strict=True):
        mean_x0 = mean_x0 + (weight / ratio) * (other - x0)
    return first_order_update(sample, mean_x0, sigma, sigma_next)


def _weights(ratios: list[float], h: float) -> list[float]:
    """Weights that are exact for every power below the number of points. One point has 1/2 by convention."""
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    decay = math.expm1(-h)
    averages, phi = [], decay / -h - 1
    for power in range(1, len(ratios) + 1):
        averages.append(phi * math.factorial(power) / decay)
        phi = phi / -h - 1 / math.factorial(power + 1)
    return np.linalg.solve(np.vander(ratios, increasing=True).T, averages).tolist()
