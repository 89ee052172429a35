"""Builds a network without weights, and fills it from files one tensor at a time.

At most one tensor lies in host memory besides what stays there. Knows networks; knows no container and no scale.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from accelerate import init_empty_weights
from torch import nn
from transformers.initialization import no_init_weights

from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.place import Placement, place_linear
from pipelines.models.formats.scales import AnyEntry
from pipelines.models.formats.stored_tensors import read_stored

N = TypeVar("N", bound=nn.Module)

Advance = Callable[[int], None]  # bytes of the files that have been read since the last call


def build_empty(make: Callable[[], N]) -> N:
    """Make a network whose parameters have no memory. What it calculates itself, such as position tables, is real."""
    with no_init_weights(), init_empty_weights(include_buffers=False):  # drawing weights without memory takes long
        return make()


def fill(network: N, weights: Mapping[str, AnyEntry], placement: Placement, advance: Advance) -> N:
    """Give each parameter its weight. Raises `FormatError` unless names and shapes are exactly those of the network."""
    check_names(network, weights)
    for name, module in list(network.named_modules()):
        own = {f"{name}.{key}" if name else key: key for key, _ in module.named_parameters(recurse=False)}
        if not own:
            continue
        stored = {}
        for full, key in own.items():
            stored[key] = read_stored(weights[full], placement.device)
            advance(weights[full].size)
        placed = module
        if isinstance(module, nn.Linear):
            placed = place_linear(name, module, stored, placement)
            if placed is not module:
                network.set_submodule(name, placed)
        else:
            for key, each in stored.items():
                module.register_parameter(key, nn.Parameter(each.dense(placement.dtype), requires_grad=False))
        if placement.waits(name):
            placed.to("cpu")
    return network.eval()


def check_names(network: nn.Module, weights: Mapping[str, AnyEntry]) -> None:
    """Raise `FormatError` for a weight that is missing, has no place, or has another shape."""
    kind, expected = type(network).__name__, dict(_shapes(network))
    if missing := sorted(expected.keys() - weights.keys()):
        raise FormatError(f"{len(missing)} weights of {kind} are missing, such as {missing[0]}")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise FormatError(f"{kind} has no place for {len(surplus)} of the weights, such as {surplus[0]}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            found = list(weights[name].shape)
            raise FormatError(f"{name} has the shape {found}, and {kind} needs {list(shape)}")


def _shapes(network: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, parameter in network.named_parameters():
        yield name, tuple(parameter.shape)
