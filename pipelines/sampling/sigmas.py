"""On which sigmas a picture is denoised: the model's own schedule, and its respacings.

Knows numbers only: no model, no sample. The solvers that walk along the sigmas are in `pipelines/sampling/solvers`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from pipelines.request import ScheduleName

KARRAS_RHO = 7.0  # Karras et al. 2022, the value used in the paper
BETA = 0.6  # both parameters of the beta distribution: Lee et al. 2024, "Beta Sampling is All You Need"


def flow_sigmas(steps: int, tokens: int, config: Mapping[str, Any], schedule: ScheduleName) -> torch.Tensor:
    """Sigmas [steps + 1] in float32, from 1 to 0, for an image of so many tokens.

    `config` is the checkpoint's scheduler configuration. Equals diffusers' FlowMatchEulerDiscreteScheduler, except that
    one step works: stretching a single sigma to the terminal one divides nothing by nothing there.
    """
    sigmas = np.linspace(1.0, 1 / steps, steps).astype(np.float32)
    if not schedule.startswith("uniform"):
        sigmas = _shifted(sigmas, tokens, config)
        terminal = config.get("shift_terminal")
        if terminal and steps > 1:
            left = 1 - sigmas
            sigmas = 1 - left / (left[-1] / (1 - terminal))
    if (respaced := _RESPACED.get(schedule.removeprefix("uniform_"))) is not None:
        sigmas = respaced(sigmas[0].item(), sigmas[-1].item(), steps)
    return torch.cat([torch.from_numpy(np.asarray(sigmas)).to(torch.float32), torch.zeros(1)])


def _shifted(sigmas: np.ndarray, tokens: int, config: Mapping[str, Any]) -> np.ndarray:
    """Spend more steps at high noise the larger the image."""
    if not config.get("use_dynamic_shifting", False):
        shift = config.get("shift", 1.0)
        return shift * sigmas / (1 + (shift - 1) * sigmas)
    base_tokens, max_tokens = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base_shift, max_shift = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    mu = tokens * slope + (base_shift - slope * base_tokens)
    weight = mu if config.get("time_shift_type") == "linear" else math.exp(mu)
    return weight / (weight + (1 / sigmas - 1) ** 1.0)


def _karras(high: float, low: float, steps: int) -> np.ndarray:
    """Steps shorten towards low noise: evenly spaced in the seventh root."""
    end, start = low ** (1 / KARRAS_RHO), high ** (1 / KARRAS_RHO)
    return (start + np.linspace(0, 1, steps) * (end - start)) ** KARRAS_RHO


def _exponential(high: float, low: float, steps: int) -> np.ndarray:
    """Each sigma the same fraction of the one before."""
    return np.exp(np.linspace(math.log(high), math.log(low), steps))


def _beta(high: float, low: float, steps: int) -> np.ndarray:
    """Shorter steps at both ends, where the picture is laid out and where its detail is."""
    return low + _beta_quantiles(1 - np.linspace(0, 1, steps)) * (high - low)


_RESPACED: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "karras": _karras,
    "exponential": _exponential,
    "beta": _beta,
}


def _beta_quantiles(probabilities: np.ndarray) -> np.ndarray:
    """Quantiles of Beta(0.6, 0.6) to about 1e-15, its CDF bisected: neither numpy nor torch has them."""
    lower = np.minimum(probabilities, 1 - probabilities)  # the distribution is symmetric around 1/2
    below, above = np.zeros_like(lower), np.full_like(lower, 0.5)
    total = 2 * _beta_integral(np.array(0.5))
    for _ in range(60):
        middle = (below + above) / 2
        too_low = _beta_integral(middle) < lower * total
        below, above = np.where(too_low, middle, below), np.where(too_low, above, middle)
    return np.where(probabilities > 0.5, 1 - below, below)


def _beta_integral(x: np.ndarray) -> np.ndarray:
    """∫ (t (1 − t))^(BETA − 1) from 0 to x ≤ 1/2, by its power series (Abramowitz & Stegun 26.5.4 and 15.1.1)."""
    coefficient, total = 1.0, np.zeros_like(x)
    for n in range(60):  # the terms fall like 2^-n
        total = total + coefficient * x**n / (BETA + n)
        coefficient *= (n + 1 - BETA) / (n + 1)
    return x**BETA * total
