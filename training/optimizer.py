"""What every stage optimises with: Muon for weight matrices, Adam for the rest, a trapezoid schedule, an average.

Knows parameters by shape and name; knows no model.
"""

import copy
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), matrices of one shape together.

    `torch.optim.Muon` takes them one by one and in bfloat16, which on a CPU costs more than the training itself.
    """

    def __init__(self, matrices: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for shape, matrices in alike.items():
                updates = torch.stack([self._pushed(matrix, group["momentum"]) for matrix in matrices])
                stretch = max(1.0, shape[0] / shape[1]) ** 0.5
                for matrix, update in zip(matrices, _orthogonal(updates), strict=True):
                    matrix.add_(update, alpha=-group["lr"] * stretch)

    def _pushed(self, matrix: nn.Parameter, momentum: float) -> torch.Tensor:
        """The gradient after Nesterov's momentum."""
        assert matrix.grad is not None
        buffer = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
        buffer.lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(buffer, momentum)


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrices to [count, rows, columns], roughly, by five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Optimizer:
    """Muon on matrices and on kernels seen as matrices, Adam on everything that `by_adam` names or that is a vector.

    The learning rates are the peak's; `factor` is the share of it that a step takes.
    """

    def __init__(self, model: nn.Module, *, muon_rate: float, adam_rate: float, by_adam: Callable[[str], bool]) -> None:
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        plain = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.ndim < 2 or by_adam(name):
                plain.append(parameter)
            else:
                self._pairs.append((parameter, nn.Parameter(_as_matrix(parameter.data))))
        self.parameters = [parameter for parameter, _ in self._pairs] + plain
        matrices = [matrix for _, matrix in self._pairs]
        self._muon = Muon(matrices, muon_rate)
        self._adam = torch.optim.AdamW(plain, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
        self._peaks = (muon_rate, adam_rate)

    def step(self, factor: float) -> None:
        """Move the weights along their gradients, then forget those."""
        for optimizer, peak in zip((self._muon, self._adam), self._peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        for parameter, matrix in self._pairs:
            matrix.grad = None if parameter.grad is None else _as_matrix(parameter.grad)
        self._muon.step()
        self._adam.step()
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Both optimisers' states."""
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])


class Average(Generic[M]):
    """An exponential moving average of a model's weights, which samples better than the weights themselves."""

    def __init__(self, model: M, horizon: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._horizon = horizon

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Move towards the model, faster while the average is young."""
        share = 1 / min(self._horizon, 1 + step / 4)
        for mean, current in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(current, share)


def _as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """[out, everything else]; of kernels with channels innermost, a view on the same memory."""
    return weight.movedim(1, -1).flatten(1)


def trapezoid(progress: float, *, warmup: float = 0.01, hold: float = 0.6) -> float:
    """Linear rise, then level, then linear fall to zero. `progress` is the share of the run that is over."""
    if progress < warmup:
        return progress / warmup + 1e-3
    return min(1.0, max(0.0, (1 - progress) / (1 - hold)))
