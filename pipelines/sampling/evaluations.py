"""The timesteps at which the model is evaluated.

A solver may evaluate between two sigmas of the schedule. A run over a sample of one number tells where, because no
solver here chooses its sigmas by the sample. Knows solvers; knows no model.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

from pipelines.request import Sampler
from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.registry import make_solver


def timestep_of(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The models' timestep [1] of a sigma, in the sample's dtype and on its device."""
    # Rounded to the latents' dtype before the division, as diffusers' pipelines do.
    return (sigma * 1000).expand(1).to(sample) / 1000


@torch.inference_mode()
def expected_timesteps(
    sampler: Sampler, sigmas: Sequence[Sigma], dtype: torch.dtype
) -> Sequence[Sequence[torch.Tensor]]:
    """The timesteps [1] of the evaluations of each step, in order, on the device of the sigmas."""
    steps: list[list[torch.Tensor]] = []

    def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        steps[-1].append(timestep_of(sample, sigma))
        return torch.zeros_like(sample)

    solver = make_solver(sampler, torch.zeros_like)
    sample = torch.zeros(1, 1, 1, dtype=dtype, device=sigmas[0].tensor.device)
    for sigma, sigma_next in pairwise(sigmas):
        steps.append([])
        sample = solver.step(velocity, sample, sigma, sigma_next)
    return steps
