"""The solver behind each name that a request can carry."""

from collections.abc import Callable

from pipelines.request import Sampler, SolverName
from pipelines.sampling.solvers.adams import Lms, Pndm
from pipelines.sampling.solvers.base import Noise, Solver
from pipelines.sampling.solvers.exponential import Deis, DpmMultistep, DpmSinglestep
from pipelines.sampling.solvers.singlestep import Singlestep, euler, heun, midpoint
from pipelines.sampling.solvers.stochastic import (
    Ancestral,
    DpmSde,
    ancestral_sigma_down,
    lcm_sigma_down,
    tcd_sigma_down,
)
from pipelines.sampling.solvers.unipc import UniPC

SOLVERS: dict[SolverName, Callable[[Noise], Solver]] = {
    "euler": lambda noise: Singlestep(euler),
    "heun": lambda noise: Singlestep(heun),
    "kdpm2": lambda noise: Singlestep(midpoint),
    "dpmpp_2m": lambda noise: DpmMultistep(2),
    "dpmpp_3m": lambda noise: DpmMultistep(3, max_extrapolation=1.0),
    "dpmpp_2s": lambda noise: DpmSinglestep(),
    "unipc_2": lambda noise: UniPC(2),
    "unipc_3": lambda noise: UniPC(3),
    "deis": lambda noise: Deis(),
    "lms": lambda noise: Lms(),
    "ipndm": lambda noise: Pndm(heun_start=False),
    "pndm": lambda noise: Pndm(heun_start=True),
    "euler_a": lambda noise: Ancestral(euler, ancestral_sigma_down, noise),
    "kdpm2_a": lambda noise: Ancestral(midpoint, ancestral_sigma_down, noise),
    "lcm": lambda noise: Ancestral(euler, lcm_sigma_down, noise),
    "tcd": lambda noise: Ancestral(euler, tcd_sigma_down, noise),
    "ddpm": lambda noise: DpmMultistep(1, noise),
    "dpmpp_2m_sde": lambda noise: DpmMultistep(2, noise, max_extrapolation=1.0),
    "dpmpp_3m_sde": lambda noise: DpmMultistep(3, noise, max_extrapolation=1.0),
    "dpmpp_sde": lambda noise: DpmSde(noise),
}


def make_solver(sampler: Sampler, noise: Noise) -> Solver:
    """Make the solver of one image. Only stochastic solvers draw from `noise`."""
    return SOLVERS[sampler.solver](noise)
