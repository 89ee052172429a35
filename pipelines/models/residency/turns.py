"""Lets the networks of several models take turns on one device. The others wait in host memory.

Knows networks and bytes; knows no files, no plan, and no order of use.
"""

from collections.abc import Collection, Iterable

import torch
from torch import nn

from accel.weights.copy_engine import CopyEngine, make_engine
from accel.weights.parked_weights import ParkedWeights


class DeviceTurns:
    """The networks of all loaded models. On a CPU none of them moves."""

    def __init__(self, device: torch.device, engine: CopyEngine | None = None) -> None:
        """`engine` moves weights; None is that of a GPU, and none for a CPU."""
        self._device = device
        self._engine = engine or (None if device.type == "cpu" else make_engine(device))
        self._networks: dict[nn.Module, ParkedWeights] = {}

    def add(self, networks: Iterable[nn.Module]) -> None:
        """Take over networks whose weights are on the device. Weights that wait in host memory anyway stay there."""
        if self._engine is None:
            return
        for network in networks:
            if network not in self._networks:
                tensors = (*network.parameters(), *network.buffers())
                there = [tensor for tensor in tensors if tensor.device.type == self._device.type]
                self._networks[network] = ParkedWeights(there, self._engine)

    def bytes_to_park(self, staying: Collection[nn.Module]) -> int:
        """The host memory that it takes to park all networks on the device except those that stay."""
        leaving = self._leaving(staying)
        return sum(weights.bytes for weights in leaving if not weights.host_bytes)

    @property
    def host_bytes(self) -> int:
        """The host memory that the copies of all networks take, also of those on the device."""
        return sum(weights.host_bytes for weights in self._networks.values())

    def park(self, staying: Collection[nn.Module]) -> None:
        """Move all networks except those that stay to host memory. Raises `MemoryError`; then one of them stays too."""
        for weights in self._leaving(staying):
            weights.park()

    def bring(self, networks: Iterable[nn.Module]) -> None:
        """Move networks to the device."""
        for network in networks:
            if network in self._networks:
                self._networks[network].unpark()

    def forget(self, used: Collection[nn.Module]) -> None:
        """Forget all networks except those that are still used."""
        self._networks = {network: weights for network, weights in self._networks.items() if network in used}

    def _leaving(self, staying: Collection[nn.Module]) -> list[ParkedWeights]:
        return [weights for network, weights in self._networks.items() if network not in staying and not weights.parked]
