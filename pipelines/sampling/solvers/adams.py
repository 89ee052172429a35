"""Linear multistep methods: the velocity is extrapolated from the last steps. One forward for each step.

The first steps have fewer velocities to go by and are of lower order.
"""

from collections import deque

import numpy as np
import torch

from pipelines.sampling.solvers.base import Velocity

ORDER = 4
# Adams–Bashforth weights of equal steps, latest velocity first (Liu et al. 2022, "PNDM", equation 9 and appendix).
EQUAL_STEPS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class Lms:
    """Exact for velocities that are cubic in sigma, whatever the steps (k-diffusion's LMS, order 4)."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, torch.Tensor]] = deque(maxlen=ORDER)

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, summed in float32."""
        self._past.appendleft((float(sigma), velocity(sample, sigma).to(torch.float32)))
        weights = _lagrange_integrals([at for at, _ in self._past], float(sigma), float(following))
        moved = sample.to(torch.float32)
        for weight, (_, slope) in zip(weights, self._past, strict=True):
            moved = moved + weight * slope
        return moved.to(sample.dtype)


class Pndm:
    """The weights of equal steps on any schedule: PLMS if the first step is Heun's, else IPNDM."""

    def __init__(self, heun_start: bool) -> None:
        self._heun_start = heun_start
        self._past: deque[torch.Tensor] = deque(maxlen=ORDER)

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, summed in float32; the first of PLMS takes two forwards."""
        self._past.appendleft(slope := velocity(sample, sigma).to(torch.float32))
        start, step = sample.to(torch.float32), following - sigma
        if len(self._past) == 1 and self._heun_start and float(following) > 0.0:
            guess = (start + step * slope).to(sample.dtype)
            return (start + step / 2 * (slope + velocity(guess, following).to(torch.float32))).to(sample.dtype)
        weights = EQUAL_STEPS[len(self._past) - 1]
        moved = start
        for weight, past in zip(weights, self._past, strict=True):
            moved = moved + step * weight * past
        return moved.to(sample.dtype)


def _lagrange_integrals(nodes: list[float], start: float, end: float) -> list[float]:
    """The integral from start to end of each Lagrange polynomial over the nodes."""
    points, weights = np.polynomial.legendre.leggauss(ORDER // 2)  # exact up to degree 3
    points = (start + end) / 2 + (end - start) / 2 * points
    values = [
        np.prod([(points - other) / (node - other) for other in nodes if other != node], axis=0) * np.ones_like(points)
        for node in nodes
    ]
    return [float(value @ weights) * (end - start) / 2 for value in values]
