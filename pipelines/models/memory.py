"""A cache of what is loaded or computed once and used again, within a budget for each kind.

Checkpoints, ControlNets, LoRAs and embeddings all live in caches of this one class, so that memory is counted by kind.
Knows tensors and their storages; knows no models.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from torch import nn

from pipelines.models.devices import free_memory

V = TypeVar("V")

Kind = Literal["checkpoint", "controlnet", "lora", "embedding", "modulation"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that is kept of one kind. None means no limit.

    `entries` is for whole models: one leaves before the next is loaded, so that both never lie side by side. `bytes` is
    for smaller things, whose size is known only once they are made.
    """

    bytes: int | None = None
    entries: int | None = None


BUDGETS: Mapping[Kind, Budget] = MappingProxyType(
    {
        "checkpoint": Budget(entries=1),  # two of 20B parameters fit on no card
        "controlnet": Budget(entries=2),  # one of five layers takes 3.3 GiB in bfloat16
        # A rank-64 adapter of all attention and MLP layers of the 20B model is about 0.6 GB in bfloat16.
        "lora": Budget(bytes=4_000_000_000),
        # One prompt of the 20B model is 3584 × 2 bytes a token; one 1 MP picture 0.5 MB of latents.
        "embedding": Budget(bytes=512 * 2**20),
        # In host memory. A step of the 20B model is 4.4 MB, or 6.6 MB with `zero_cond_t`: four lists of 50 steps.
        "modulation": Budget(bytes=1024 * 2**20),
    }
)


def budgets_within(size: int | None) -> Mapping[Kind, Budget]:
    """The budgets of a model on a card that has `size` bytes for LoRAs, and a third of that for embeddings.

    None means that the card has room for all. A small card keeps one ControlNet.
    """
    if size is None:
        return BUDGETS
    lora, embedding = (BUDGETS[kind].bytes or 0 for kind in ("lora", "embedding"))
    small: dict[Kind, Budget] = {
        "lora": Budget(bytes=min(lora, size)),
        "embedding": Budget(bytes=min(embedding, size // 3)),
        "controlnet": BUDGETS["controlnet"] if size >= lora // 2 else Budget(entries=1),
    }
    return MappingProxyType({**BUDGETS, **small})


class ByteBudgetCache:
    """Values by kind and key; the least recently used of a kind leaves first.

    What it returns is shared, so it must not be changed. Threads may ask for values at the same time: those of one kind
    are made one after the other.
    """

    def __init__(self, budgets: Mapping[Kind, Budget] = BUDGETS) -> None:
        self._budgets = budgets
        self._entries: dict[Kind, OrderedDict[Hashable, tuple[Any, int]]] = {
            kind: OrderedDict() for kind in get_args(Kind)
        }
        self._usage: dict[Kind, int] = dict.fromkeys(self._entries, 0)
        self._locks = {kind: threading.RLock() for kind in self._entries}

    def get(self, kind: Kind, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made if it is not here. One that exceeds its kind's bytes alone is not kept."""
        with self._locks[kind]:
            return self._get(kind, key, make)

    def values(self, kind: Kind) -> tuple[Any, ...]:
        """What is kept of a kind, the most recently used last."""
        return tuple(value for value, _ in self._entries[kind].values())

    def clear(self) -> None:
        """Drop everything."""
        for kind, entries in self._entries.items():
            with self._locks[kind]:
                entries.clear()
                self._usage[kind] = 0

    def usage(self) -> dict[Kind, int]:
        """The bytes kept of each kind."""
        return dict(self._usage)

    def _get(self, kind: Kind, key: Hashable, make: Callable[[], V]) -> V:
        entries, budget = self._entries[kind], self._budgets[kind]
        if key in entries:
            entries.move_to_end(key)
            return cast("V", entries[key][0])
        while budget.entries is not None and len(entries) >= budget.entries:
            self._drop_oldest(kind)
            free_memory()
        value = make()
        size = storage_bytes(value)
        if budget.bytes is None or size <= budget.bytes:
            entries[key] = (value, size)
            self._usage[kind] += size
            while budget.bytes is not None and self._usage[kind] > budget.bytes:
                self._drop_oldest(kind)
        return value

    def _drop_oldest(self, kind: Kind) -> None:
        _, (_, size) = self._entries[kind].popitem(last=False)
        self._usage[kind] -= size


def storage_bytes(value: object) -> int:
    """The bytes that a value keeps in memory: those of every storage its tensors lie in, each counted once.

    Looks into modules, and into dataclasses, mappings and tuples. A view keeps, and counts, its whole storage.
    """
    storages = {}
    for tensor in _tensors(value):
        if tensor.is_meta:  # of a network that has not been read yet
            continue
        storage = tensor.untyped_storage()
        storages[tensor.device, storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def without_surplus(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or a copy if it is a view of a larger storage, which would be kept with it."""
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from chain(value.parameters(), value.buffers())
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors(item)
