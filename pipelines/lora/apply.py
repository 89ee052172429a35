"""Loads the LoRAs of a request, caches them, and applies them to one forward at a time.

All requests share the transformer, so nothing of a LoRA may stay on it. Forward hooks are set around one forward and
always removed after it. No weight is ever written to.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from accel.kernels.low_rank import BlockLowRank
from pipelines.catalog.hub.download import fetch_file
from pipelines.errors import LoraError, first_line
from pipelines.lora.deltas import Delta
from pipelines.lora.files import LoraFile, read_lora
from pipelines.lora.keys import changes_modulation
from pipelines.lora.low_rank import in_graph, low_rank_by_block
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import LoraUse

Hook = Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]
ModuleHook = tuple[nn.Module, Hook]
FileKey = tuple[Path, int, int]  # a local file, its time of change, and its size


@dataclass(frozen=True, slots=True)
class CompiledLoras:
    """The LoRAs of one request for compiled blocks: additions to the layers of blocks, and the hooks elsewhere."""

    blocks: Mapping[nn.Module, BlockLowRank]
    hooks: tuple[ModuleHook, ...]


@dataclass(frozen=True, slots=True)
class LoraSet:
    """The LoRAs of one request: a hook for each module that they change, and the warnings of their files.

    `modulation` identifies those that change the modulation of the blocks, with their weights. `low_rank` replaces the
    hooks inside compiled blocks, which cannot run them; None where it cannot, or where the blocks are not compiled.
    Sets of equal `identity` compute the same.
    """

    hooks: tuple[ModuleHook, ...] = ()
    warnings: tuple[str, ...] = ()
    modulation: Hashable = ()
    low_rank: CompiledLoras | None = None
    identity: Hashable = field(default_factory=object)


NO_LORAS = LoraSet(identity=())


def select_loras(uses: Sequence[LoraUse], model: LoadedModel) -> LoraSet:
    """Make the hooks of a request's LoRAs. Raises `LoraError`, with the LoRA at fault."""
    deltas: dict[str, list[tuple[Delta, float]]] = {}
    warnings = []
    modulation = []
    identity = []
    for number, use in enumerate(uses):
        try:
            key = _file_key(use.path)
            file = _load(key, model)
        except LoraError as error:
            raise LoraError(f"LoRA '{use.name}' cannot be used: {error}", f"loras[{number}]") from error
        warnings += [f"LoRA '{use.name}': {warning}." for warning in file.warnings]
        if use.weight != 0:
            identity.append((key, use.weight))
            for name, added in file.deltas.items():
                deltas.setdefault(name, []).extend((delta, use.weight) for delta in added)
            if any(map(changes_modulation, file.deltas)):
                modulation.append((key, use.weight))
    return replace(
        make_lora_set(deltas, model.checkpoint),
        warnings=tuple(dict.fromkeys(warnings)),
        modulation=tuple(modulation),
        identity=tuple(identity),
    )


def make_lora_set(deltas: Mapping[str, Sequence[tuple[Delta, float]]], checkpoint: Checkpoint) -> LoraSet:
    """The set of some deltas with their weights, by the names of the transformer's modules."""
    transformer = checkpoint.transformer
    hooks = {name: (transformer.get_submodule(name), _hook(tuple(added))) for name, added in deltas.items()}
    low_rank = None
    if checkpoint.compiled is not None and (blocks := low_rank_by_block(deltas, transformer)) is not None:
        low_rank = CompiledLoras(blocks, tuple(hook for name, hook in hooks.items() if not in_graph(name)))
    return LoraSet(tuple(hooks.values()), low_rank=low_rank)


def load_lora(path: Path, model: LoadedModel) -> LoraFile:
    """Return the deltas of a file for a model, cached by its size and time of change. Raises `LoraError`."""
    return _load(_file_key(path), model)


def _load(key: FileKey, model: LoadedModel) -> LoraFile:
    checkpoint = model.checkpoint

    def read() -> LoraFile:
        return read_lora(key[0], checkpoint.transformer, checkpoint.device, checkpoint.dtype)

    return model.memory.get("lora", key, read)


@contextmanager
def apply_loras(loras: LoraSet) -> Iterator[None]:
    """Apply the LoRAs to the forwards inside the block, and to none after it.

    Those with `low_rank` act on compiled blocks through its additions, and need only its hooks.
    """
    handles = []
    try:
        for module, hook in loras.hooks if loras.low_rank is None else loras.low_rank.hooks:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(added: tuple[tuple[Delta, float], ...]) -> Hook:
    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        total = output
        for delta, weight in added:
            total = torch.add(total, delta(module, inputs[0], output), alpha=weight)
        return total

    return add


def _file_key(path: Path) -> FileKey:
    """The key of a file, which is downloaded if need be. Raises `LoraError`."""
    local = _local_path(path)
    try:
        stat = local.stat()
    except OSError as error:
        raise LoraError(f"there is no file '{local}'") from error
    return local, stat.st_mtime_ns, stat.st_size


def _local_path(path: Path) -> Path:
    try:
        return fetch_file(path)
    except OSError as error:
        raise LoraError(f"'{path}' cannot be downloaded from the hub ({first_line(error)})") from error
    except ValueError as error:
        raise LoraError(first_line(error)) from error
