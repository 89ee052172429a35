"""The models that are loaded on one device."""

from typing import get_args

import torch

from pipelines.catalog.catalog import ModelEntry
from pipelines.errors import LoadError
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.devices import check_device, default_dtype
from pipelines.models.loader import load
from pipelines.models.memory import ByteBudgetCache, Kind


class ModelCache:
    """Loads models when they are asked for, and drops the one before. Raises `LoadError` without the device."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        check_device(self._device)
        self._dtype = default_dtype(self._device)
        self._memory = ByteBudgetCache()

    def get(self, entry: ModelEntry) -> LoadedModel:
        """The model of an entry, loaded if need be. Raises `LoadError`."""
        with_vision = entry.mode != "text_to_image"

        def make() -> LoadedModel:
            return LoadedModel(load(entry.files, self._device, self._dtype, with_vision=with_vision))

        model = self._memory.get("checkpoint", entry.files, make)
        if with_vision and model.checkpoint.image_processor is None:
            raise LoadError(f"Weights '{entry.weights}' have no processor, so they draw from text but cannot edit.")
        return model

    def usage(self) -> dict[Kind, int]:
        """The bytes kept of each kind: the models, and what their memories hold."""
        memories = (self._memory, *(model.memory for model in self._memory.values("checkpoint")))
        usages = [memory.usage() for memory in memories]
        return {kind: sum(usage[kind] for usage in usages) for kind in get_args(Kind)}
