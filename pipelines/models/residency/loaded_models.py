"""The loaded models of a device. One is on the device; the others wait in host memory while there is room.

The least recently used one leaves first. Knows models and bytes; knows no files and no plan.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from itertools import chain

import structlog
from torch import nn

from pipelines.models.checkpoint import LoadedModel
from pipelines.models.devices import free_memory
from pipelines.models.memory import storage_bytes
from pipelines.models.residency.turns import DeviceTurns

log = structlog.get_logger()

# Host memory that is left for everything else: requests, pictures, and the other processes of the machine.
RESERVE_BYTES = 2**30


class LoadedModels:
    """Models by key. Networks that several of them share stay on the device."""

    def __init__(self, turns: DeviceTurns, free_bytes: Callable[[], int]) -> None:
        """`free_bytes` tells how much host memory is free."""
        self._turns = turns
        self._free_bytes = free_bytes
        self._models: OrderedDict[Hashable, LoadedModel] = OrderedDict()

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """All models, the most recently used last."""
        return tuple(self._models.values())

    def bytes_on(self, device: str) -> int:
        """The bytes that the networks take on a kind of device, such as `cpu`, with their copies in host memory.

        A plan counts them as free, because they make room for its model.
        """
        networks = {network for model in self.models for network in _networks(model)}
        tensors = (each for network in networks for each in (*network.parameters(), *network.buffers()))
        lying = storage_bytes(tuple(each for each in tensors if each.device.type == device))
        return max(lying, self._turns.host_bytes) if device == "cpu" else lying

    def get(self, key: Hashable) -> LoadedModel | None:
        """A model, brought to the device; None if it is not here."""
        if (model := self._models.get(key)) is None:
            return None
        if model is not self.models[-1]:
            self._models.move_to_end(key)
            self._leave(0, _networks(model))
            self._turns.bring(_networks(model))
        return model

    def add(self, key: Hashable, model: LoadedModel) -> None:
        """Keep a model that has just been loaded on the device."""
        self._models[key] = model
        self._turns.add(_networks(model))

    def replace(self, key: Hashable, model: LoadedModel) -> None:
        """Keep a model in place of one of the same networks, if that is still here."""
        if key in self._models:
            self._models[key] = model

    def make_room(self, needed: int, staying: Collection[nn.Module]) -> None:
        """Clear the device for a model that takes `needed` bytes of host memory, except for networks that it shares."""
        self._leave(needed, staying)
        self._turns.bring(staying)

    def clear(self) -> None:
        """Drop all models."""
        self._models.clear()
        self._turns.forget(())

    def _leave(self, needed: int, staying: Collection[nn.Module]) -> None:
        """Park the networks on the device, and drop models until host memory has room for them and for `needed`."""
        for model in self._models.values():
            if not set(_networks(model)) <= set(staying):
                _release(model)
        while self._free_bytes() < needed + self._turns.bytes_to_park(staying) + RESERVE_BYTES and self._drop(staying):
            pass
        try:
            self._turns.park(staying)
        except MemoryError as error:
            log.warning("models are dropped, because host memory cannot be pinned", reason=str(error))
            while self._drop(staying):
                pass
        if self._models:  # before the first load there is nothing to give back, and looking for it takes a while
            free_memory()

    def _drop(self, staying: Collection[nn.Module]) -> bool:
        """Drop the least recently used model that does not stay. False if there is none."""
        leaving = (key for key, model in self._models.items() if model.checkpoint.transformer not in staying)
        if (key := next(leaving, None)) is None:
            return False
        log.info("a model leaves host memory", model=str(key))
        del self._models[key]
        self._turns.forget(list(chain(staying, *map(_networks, self._models.values()))))
        free_memory()
        return True


def _networks(model: LoadedModel) -> tuple[nn.Module, ...]:
    checkpoint = model.checkpoint
    return checkpoint.transformer, checkpoint.vae, checkpoint.text_encoder


def _release(model: LoadedModel) -> None:
    """Free what a model holds on the device besides its networks."""
    if model.checkpoint.device.type == "cpu":
        return
    model.memory.clear()
    if (graphs := model.checkpoint.graphs) is not None:
        graphs.clear()  # they read the weights where these lie now
    if (placed := model.checkpoint.placed) is not None:
        for stream in (placed.blocks, placed.modulation):
            if stream is not None:
                stream.release()
