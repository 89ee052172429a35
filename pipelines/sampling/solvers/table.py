"""Which solver a sampler's name means."""

from collections.abc import Callable

from pipelines.request import Sampler, SolverName
from pipelines.sampling.solvers.adams import Lms, Pndm
from pipelines.sampling.solvers.base import Noise, Solver
from pipelines.sampling.solvers.exponential import Deis, DpmMultistep, DpmSinglestep
from pipelines.sampling.solvers.singlestep import Singlestep, euler, heun, midpoint
from pipelines.sampling.solvers.stochastic import Ancestral, DpmSde, ancestral, consistency, trajectory_consistency
from pipelines.sampling.solvers.unipc import UniPC

_MAKERS: dict[SolverName, Callable[[Noise], Solver]] = {
    "euler": lambda noise: Singlestep(euler),
    "heun": lambda noise: Singlestep(heun),
    "kdpm2": lambda noise: Singlestep(midpoint),
    "dpmpp_2m": lambda noise: DpmMultistep(2),
    "dpmpp_3m": lambda noise: DpmMultistep(3, reach=1.0),
    "dpmpp_2s": lambda noise: DpmSinglestep(),
    "unipc_2": lambda noise: UniPC(2),
    "unipc_3": lambda noise: UniPC(3),
    "deis": lambda noise: Deis(),
    "lms": lambda noise: Lms(),
    "ipndm": lambda noise: Pndm(heun_start=False),
    "pndm": lambda noise: Pndm(heun_start=True),
    "euler_a": lambda noise: Ancestral(euler, ancestral, noise),
    "kdpm2_a": lambda noise: Ancestral(midpoint, ancestral, noise),
    "lcm": lambda noise: Ancestral(euler, consistency, noise),
    "tcd": lambda noise: Ancestral(euler, trajectory_consistency, noise),
    "ddpm": lambda noise: DpmMultistep(1, noise),
    "dpmpp_2m_sde": lambda noise: DpmMultistep(2, noise, reach=1.0),
    "dpmpp_3m_sde": lambda noise: DpmMultistep(3, noise, reach=1.0),
    "dpmpp_sde": lambda noise: DpmSde(noise),
}


def make_solver(sampler: Sampler, noise: Noise) -> Solver:
    """A fresh solver for one image; only stochastic ones draw from `noise`."""
    return _MAKERS[sampler.solver](noise)
