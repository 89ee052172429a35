"""The sigmas an image is denoised on: the model's own schedule and its respacings.

Knows numbers only: no model and no sample. The solvers are in `pipelines/sampling/solvers`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipelines.request import Sampler, ScheduleName

KARRAS_RHO = 7.0  # Karras et al. 2022, the value used in the paper
BETA = 0.6  # both parameters of the beta distribution: Lee et al. 2024, "Beta Sampling is All You Need"


@dataclass(frozen=True, slots=True)
class Sigma:
    """A sigma twice: as a `number` for the host, and as a 0-dimensional float32 `tensor` beside the sample.

    Reading the tensor would wait for the device. The number in its place would round some products otherwise.
    """

    number: float
    tensor: torch.Tensor

    def at(self, number: float) -> "Sigma":
        """Another sigma, rounded to float32, on the device of this one."""
        return Sigma(float(np.float32(number)), self.tensor.new_full((), number))


def sigmas_on(device: torch.device, sigmas: torch.Tensor) -> tuple[Sigma, ...]:
    """The sigmas of a CPU tensor for a render on a device."""
    return tuple(map(Sigma, sigmas.tolist(), sigmas.to(device)))


def flow_sigmas(steps: int, tokens: int, config: Mapping[str, Any], schedule: ScheduleName) -> torch.Tensor:
    """Return the sigmas [steps + 1] in float32, from 1 to 0, for an image of `tokens` tokens.

    `config` is the checkpoint's scheduler configuration. Equals diffusers' FlowMatchEulerDiscreteScheduler, except that
    one step works: there, stretching a single sigma to the terminal sigma divides zero by zero.
    """
    sigmas = np.linspace(1.0, 1 / steps, steps).astype(np.float32)
    if not schedule.startswith("uniform"):
        sigmas = _shifted(sigmas, tokens, config)
        terminal = config.get("shift_terminal")
        if terminal and steps > 1:
            complement = 1 - sigmas
            sigmas = 1 - complement / (complement[-1] / (1 - terminal))
    if (respace := _RESPACINGS.get(schedule.removeprefix("uniform_"))) is not None:
        sigmas = respace(sigmas[0].item(), sigmas[-1].item(), steps)
    return torch.cat([torch.from_numpy(np.asarray(sigmas)).to(torch.float32), torch.zeros(1)])


def scheduler_config(config: Mapping[str, Any], sampler: Sampler) -> Mapping[str, Any]:
    """Return the checkpoint's scheduler configuration with the shift and the terminal sigma of a sampler.

    A fixed shift is written as the published configuration of Qwen-Image-Lightning writes it, so that the sigmas equal
    diffusers' to the bit.
    """
    changed = dict(config)
    if sampler.shift is not None:
        log_shift = math.log(sampler.shift)
        changed |= {"use_dynamic_shifting": True, "time_shift_type": "exponential"}
        changed |= {"base_shift": log_shift, "max_shift": log_shift}
    if sampler.terminal is not None:
        changed["shift_terminal"] = sampler.terminal or None
    return changed


def _shifted(sigmas: np.ndarray, tokens: int, config: Mapping[str, Any]) -> np.ndarray:
    """Shift the sigmas towards high noise; the larger the image, the further."""
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
    """Even steps of the seventh root of sigma, so that steps are shorter at low noise."""
    end, start = low ** (1 / KARRAS_RHO), high ** (1 / KARRAS_RHO)
    return (start + np.linspace(0, 1, steps) * (end - start)) ** KARRAS_RHO


def _exponential(high: float, low: float, steps: int) -> np.ndarray:
    """Even steps of log sigma."""
    return np.exp(np.linspace(math.log(high), math.log(low), steps))


def _beta(high: float, low: float, steps: int) -> np.ndarray:
    """Shorter steps at both ends, where the layout and the details are formed."""
    return low + _beta_quantiles(1 - np.linspace(0, 1, steps)) * (high - low)


_RESPACINGS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "karras": _karras,
    "exponential": _exponential,
    "beta": _beta,
}


def _beta_quantiles(probabilities: np.ndarray) -> np.ndarray:
    """Quantiles of Beta(0.6, 0.6) to about 1e-15, by bisection of its CDF. numpy and torch do not have them."""
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
