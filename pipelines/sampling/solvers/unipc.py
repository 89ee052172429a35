"""UniPC: a predictor, and a corrector that reuses the next step's forward (Zhao et al. 2023, form B2(h))."""

import math
from collections import deque

import numpy as np
import torch

from pipelines.sampling.solvers.base import PARABOLA_GROWTH, Velocity, exponential_step, half_log_snr, with_data

Point = tuple[float, torch.Tensor]  # half log-SNR, and the data predicted there


class UniPC:
    """Order 2 or 3; on schedules without long steps, equals diffusers' UniPCMultistepScheduler with `bh2`.

    The sample that a step is given is the last step's prediction: it is corrected by what the model sees in it before
    the step goes on. The step to zero is first order, as is the one from pure noise, where the log-SNR is infinite.
    """

    def __init__(self, order: int) -> None:
        self._past: deque[Point] = deque(maxlen=order - 1)
        self._last: tuple[torch.Tensor, torch.Tensor, float, list[Point]] | None = None

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end, dtype = float(sigma), float(following), sample.dtype
        sample, data = with_data(velocity, sample, sigma)
        at = half_log_snr(start)
        if self._last is not None:
            before, last_data, last_sigma, points = self._last
            sample = _moved(before, last_data, last_sigma, start, [*points, (at, data)])
        points = self._points(at, half_log_snr(end) - at)
        moved = _moved(sample, data, start, end, points)
        self._last = (sample, data, start, points)
        if math.isfinite(at):
            self._past.appendleft((at, data))
        return moved.to(dtype)

    def _points(self, at: float, step: float) -> list[Point]:
        """The earlier predictions that a step goes by."""
        if not math.isfinite(step):
            return []
        long = bool(self._past) and step > PARABOLA_GROWTH * (at - self._past[0][0])
        return list(self._past)[: 1 if long else None]


def _moved(sample: torch.Tensor, data: torch.Tensor, start: float, end: float, points: list[Point]) -> torch.Tensor:
    """From start, where `data` is predicted, to end, with what is predicted at other points."""
    origin = half_log_snr(start)
    step = half_log_snr(end) - origin
    ratios = [(at - origin) / step if math.isfinite(step) else 1.0 for at, _ in points]
    target = data
    for weight, ratio, (_, other) in zip(_weights(ratios, step), ratios, points, strict=True):
        target = target + (weight / ratio) * (other - data)
    return exponential_step(sample, target, start, end)


def _weights(ratios: list[float], step: float) -> list[float]:
    """Weights that make every power below the number of points come out exactly; one point has 1/2 by convention."""
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    decay = math.expm1(-step)
    averages, phi = [], decay / -step - 1
    for power in range(1, len(ratios) + 1):
        averages.append(phi * math.factorial(power) / decay)
        phi = phi / -step - 1 / math.factorial(power + 1)
    return np.linalg.solve(np.vander(ratios, increasing=True).T, averages).tolist()
