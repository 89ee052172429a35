"""The optimisers of all stages: Muon for weight matrices, Adam for the rest, a trapezoid schedule, a weight average.

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
    """Muon: momentum with an orthogonalised update (Jordan et al. 2024). Matrices of one shape are batched.

    `torch.optim.Muon` takes them one by one and in bfloat16, which costs more than the training itself on a CPU.
    """

    def __init__(self, matrices: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for shape, matrices in alike.items():
                updates = torch.stack([self._nesterov(matrix, group["momentum"]) for matrix in matrices])
                stretch = max(1.0, shape[0] / shape[1]) ** 0.5
                for matrix, update in zip(matrices, _orthogonalize(updates), strict=True):
                    matrix.add_(update, alpha=-group["lr"] * stretch)

    def _nesterov(self, matrix: nn.Parameter, momentum: float) -> torch.Tensor:
        """The gradient with Nesterov momentum."""
        assert matrix.grad is not None
        buffer = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
        buffer.lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(buffer, momentum)


def _orthogonalize(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrices to [count, rows, columns], roughly, by five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Optimizer:
    """Muon for matrices and for kernels flattened to matrices; Adam for vectors and for names that `by_adam` accepts.

    The learning rates are peak values. The `factor` of a step scales them.
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
        """Update the weights by their gradients, then clear the gradients."""
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
        """Return the state of both optimisers."""
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])


class Average(Generic[M]):
    """An exponential moving average of a model's weights. It samples better than the weights themselves."""

    def __init__(self, model: M, horizon: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._horizon = horizon

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Move the average towards the model, faster in the first steps."""
        share = 1 / min(self._horizon, 1 + step / 4)
        for mean, current in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.lerp_(current, share)


def _as_matrix(weight: torch.Tensor) -> torch.Tensor:
    """Flatten to [out, rest]. For kernels with channels innermost, the result is a view on the same memory."""
    return weight.movedim(1, -1).flatten(1)


def trapezoid(progress: float, *, warmup: float = 0.01, hold: float = 0.6) -> float:
    """Return the factor of the learning rate: linear warm-up, constant, linear decay to zero.

    `progress` is the finished share of the run.
    """
    if progress < warmup:
        return progress / warmup + 1e-3
    return min(1.0, max(0.0, (1 - progress) / (1 - hold)))
