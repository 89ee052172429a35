"""Runs a network whose weights wait in host memory: each layer is on the device while it runs.

For networks whose forward is not ours, such as the text encoder: hooks load each layer before it runs. Knows modules;
knows nothing of what they compute.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from accel.weights.copy_engine import CopyEngine
from accel.weights.host_block import HostBlock, weights_of
from accel.weights.streaming import WeightStream


class LayerwiseNetwork:
    """Layers that are loaded one after the other, and groups of other modules that are loaded for a whole run."""

    def __init__(self, layers: Sequence[nn.Module], groups: Sequence[Sequence[nn.Module]], engine: CopyEngine) -> None:
        """Move all of them into host memory. Raises `MemoryError`."""
        self._layers = list(layers)
        self._engine = engine
        self._stream = WeightStream([[layer] for layer in layers], range(len(layers)), engine, repeated=False)
        found = [weights_of(group) for group in groups]
        self._groups = [HostBlock(tensors, engine) if tensors else None for tensors in found]

    @property
    def host_bytes(self) -> int:
        """The bytes that wait in host memory."""
        groups = sum(group.buffer.nbytes for group in self._groups if group is not None)
        return sum(self._stream.bytes_by_block.values()) + groups

    @contextmanager
    def running(self, groups: Sequence[int]) -> Iterator[None]:
        """Let the network run inside the `with`, with the groups of these numbers on the device."""
        with ExitStack() as stack:
            stack.callback(self._stream.release)
            for number in groups:
                if (group := self._groups[number]) is not None:
                    stack.enter_context(self._loaded(group))
            for number, layer in enumerate(self._layers):
                open_layer = stack.enter_context(ExitStack())  # closed after the layer, or when it has failed
                stack.callback(layer.register_forward_pre_hook(self._enter(number, open_layer)).remove)
                stack.callback(layer.register_forward_hook(_leave(open_layer)).remove)
            yield

    @contextmanager
    def _loaded(self, block: HostBlock) -> Iterator[None]:
        buffer = self._engine.allocate_device(block.buffer.nbytes)
        self._engine.wait(self._engine.copy(buffer, block.buffer, self._engine.mark()))
        block.bind(buffer)
        try:
            yield
        finally:
            block.unbind()

    def _enter(self, number: int, open_layer: ExitStack) -> Callable[[nn.Module, object], None]:
        def load(module: nn.Module, inputs: object) -> None:
            open_layer.enter_context(self._stream.loaded(number, len(self._layers)))

        return load


def _leave(open_layer: ExitStack) -> Callable[[nn.Module, object, torch.Tensor], None]:
    def unload(module: nn.Module, inputs: object, output: object) -> None:
        open_layer.close()

    return unload
