"""The interface of a caching strategy, which only decides. `accel.cache.session` carries the decisions out.

Every strategy is a `Strategy`. It may also implement `Predictor`, `DistanceMetric` or `FixedSchedule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from accel.block_runner import BlockRunner


class Strategy(Protocol):
    """A policy: which tensor is watched, and how small its change must be for a forward to be reused.

    The first `front` and the last `back` blocks always run. The blocks between them are skipped in a reused forward.
    What these blocks add to the hidden states is the residual, which is cached and reused.
    """

    @property
    def front(self) -> int:
        """The number of blocks that run before the decision."""
        ...

    @property
    def back(self) -> int:
        """The number of blocks that run after the residual was added."""
        ...

    @property
    def threshold(self) -> float:
        """A forward is reused when its score is below the threshold."""
        ...

    @property
    def one_decision_for_cfg(self) -> bool:
        """Whether both branches of guidance share one signal and one decision. This requires `front` to be 0."""
        ...

    @property
    def compares_to(self) -> Literal["last", "last_computed"]:
        """The earlier forward whose signal the new one is compared with."""
        ...

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The tensor that is watched, […, noise tokens, width]. The runner has run `front` blocks."""
        ...

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """The number that is compared with the threshold.

        `distance` is finite and not negative; it is 0 for a `FixedSchedule`. `accumulated` is the score of the last
        forward if that was reused, else 0. `sigma` is the one of this forward.
        """
        ...


@dataclass(frozen=True, slots=True)
class PastForward:
    """A forward in the history: its step, its signal, and the residual or output that a predictor works on."""

    step: int
    signal: torch.Tensor
    value: torch.Tensor


@runtime_checkable
class Predictor(Protocol):
    """Predicts the value of a reused forward. Without a predictor, the last computed residual is used."""

    @property
    def predicts(self) -> Literal["residual", "output"]:
        """The residual of the skipped blocks, or the transformer's output. For an output, no layer runs at all."""
        ...

    @property
    def history_length(self) -> int:
        """The number of forwards that are remembered."""
        ...

    @property
    def keeps_predictions(self) -> bool:
        """Whether the history also contains reused forwards, with their predicted values."""
        ...

    def predict(
        self, step: int, signal: torch.Tensor, history: Sequence[PastForward], sigmas: Sequence[float]
    ) -> torch.Tensor:
        """The value of `step`, from a history of one or more forwards, the newest last.

        `sigmas` are those of all executed steps and the final one. Must not wait for the device.
        """
        ...


@runtime_checkable
class DistanceMetric(Protocol):
    """Measures the distance of two signals. Without it, the distance is `relative_l1`."""

    def distance(
        self, signal: torch.Tensor, reference: torch.Tensor, history: Sequence[PastForward]
    ) -> torch.Tensor | None:
        """The distance from the remembered signal, a scalar on the device. None when the history is too short."""
        ...


@runtime_checkable
class FixedSchedule(Protocol):
    """Fixes in advance which steps are computed. No distance is measured."""

    def computed_steps(self, sigmas: Sequence[float]) -> frozenset[int]:
        """The executed steps that are computed, counted from 0. `sigmas` are as for `Predictor.predict`."""
        ...


def relative_l1(signal: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """mean|signal − reference| / mean|reference| in float32, on the device."""
    reference, signal = reference.to(torch.float32), signal.to(torch.float32)
    return (signal - reference).abs().mean() / reference.abs().mean()
