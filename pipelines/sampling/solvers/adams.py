"""Linear multistep solvers: the velocity is extrapolated from the last steps, with one forward a step.

The first steps have a shorter history and a lower order.
"""

from collections import deque

import numpy as np
import torch

from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import Velocity

ORDER = 4
# Adams–Bashforth weights of equal steps, latest velocity first (Liu et al. 2022, "PNDM", equation 9 and appendix).
EQUAL_STEPS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class Lms:
    """LMS of order 4, as in k-diffusion: exact for velocities that are cubic in sigma, on any schedule."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, torch.Tensor]] = deque(maxlen=ORDER)  # sigma and velocity, latest first

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, summed in float32."""
        self._history.appendleft((sigma.number, velocity(sample, sigma.tensor).to(torch.float32)))
        weights = _lagrange_integrals([node for node, _ in self._history], sigma.number, sigma_next.number)
        sample_next = sample.to(torch.float32)
        for weight, (_, v) in zip(weights, self._history, strict=True):
            sample_next = sample_next + weight * v
        return sample_next.to(sample.dtype)


class Pndm:
    """Adams–Bashforth with the weights of equal steps on any schedule: PLMS if the first step is Heun's, else IPNDM."""

    def __init__(self, heun_start: bool) -> None:
        self._heun_start = heun_start
        self._history: deque[torch.Tensor] = deque(maxlen=ORDER)  # velocities, latest first

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, summed in float32. The first step of PLMS takes two forwards."""
        self._history.appendleft(v := velocity(sample, sigma.tensor).to(torch.float32))
        start, step = sample.to(torch.float32), sigma_next.tensor - sigma.tensor
        if len(self._history) == 1 and self._heun_start and sigma_next.number > 0.0:
            predicted = (start + step * v).to(sample.dtype)
            return (start + step / 2 * (v + velocity(predicted, sigma_next.tensor).to(torch.float32))).to(sample.dtype)
        weights = EQUAL_STEPS[len(self._history) - 1]
        sample_next = start
        for weight, past in zip(weights, self._history, strict=True):
            sample_next = sample_next + step * weight * past
        return sample_next.to(sample.dtype)


def _lagrange_integrals(nodes: list[float], start: float, end: float) -> list[float]:
    """The integral from start to end of each Lagrange polynomial over the nodes."""
    points, weights = np.polynomial.legendre.leggauss(ORDER // 2)  # exact up to degree 3
    points = (start + end) / 2 + (end - start) / 2 * points
    values = [
        np.prod([(points - other) / (node - other) for other in nodes if other != node], axis=0) * np.ones_like(points)
        for node in nodes
    ]
    return [float(value @ weights) * (end - start) / 2 for value in values]
