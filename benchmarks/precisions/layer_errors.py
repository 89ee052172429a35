"""The error of each quantized layer of a transformer's blocks, against the layer itself on the same inputs.

The layers quantize as in a render, and the render goes on with the exact outputs. So an error is that of one layer
alone. Knows layers; knows no image.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from accel.weights.quantized.quantize import QuantizedPrecision, quantize_linear
from pipelines.models.loading.loader import beside_the_modulation


@dataclass(slots=True)
class _Sums:
    """Sums of squares over all calls of a layer, in float64."""

    error: float = 0.0
    value: float = 0.0


class LayerErrors:
    """The errors of some layers by name: root-mean-square error over root-mean-square output."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def add(self, name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        """Count one call of a layer."""
        sums = self._sums.setdefault(name, _Sums())
        sums.error += (found.double() - expected.double()).square().sum().item()
        sums.value += expected.double().square().sum().item()

    @property
    def by_layer(self) -> dict[str, float]:
        """The error of each layer. A layer whose outputs were all zero has none."""
        return {name: (sums.error / sums.value) ** 0.5 for name, sums in self._sums.items() if sums.value}

    @property
    def by_kind(self) -> dict[str, dict[str, float | str]]:
        """For each kind of layer, such as `attn.to_q`: the median over the blocks, the worst, and that one's name."""
        kinds: dict[str, dict[str, float]] = {}
        for name, error in self.by_layer.items():
            kinds.setdefault(name.split(".", 2)[2], {})[name] = error
        return {kind: _summary(errors) for kind, errors in kinds.items()}


def _summary(errors: Mapping[str, float]) -> dict[str, float | str]:
    worst = max(errors, key=errors.__getitem__)
    median = statistics.median(errors.values())
    return {"median": round(median, 5), "worst": round(errors[worst], 5), "worst_layer": worst}


@contextmanager
def watch_layers(transformer: nn.Module, precision: QuantizedPrecision) -> Iterator[LayerErrors]:
    """Compare each layer that `precision` quantizes with itself, in every forward inside the `with`.

    A layer is quantized anew in each call, so that no second copy of the weights stays.
    """
    errors = LayerErrors()
    linears = [
        (name, layer)
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and beside_the_modulation(name)
    ]
    handles = [layer.register_forward_hook(_compare(name, precision, errors)) for name, layer in linears]
    try:
        yield errors
    finally:
        for handle in handles:
            handle.remove()


def _compare(
    name: str, precision: QuantizedPrecision, errors: LayerErrors
) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def compare(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(layer, nn.Linear):
            errors.add(name, quantize_linear(layer, precision)(inputs[0]), output)

    return compare
