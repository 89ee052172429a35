"""The models that are loaded on one device."""

from typing import get_args

import torch

from pipelines.catalog.catalog import ModelEntry
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import check_device, default_dtype, free_memory
from pipelines.models.encoder_identity import encoder_identity
from pipelines.models.loader import load
from pipelines.models.memory import ByteBudgetCache, Kind
from pipelines.models.options import DEFAULT_OPTIONS, ModelOptions
from pipelines.models.plan import resident_plan
from pipelines.models.prompt_store import ModelPrompts, PromptStore


class ModelCache:
    """Loads models when they are asked for, and drops the one before. Raises `LoadError` without the device."""

    def __init__(self, device: str, options: ModelOptions = DEFAULT_OPTIONS) -> None:
        self._device = torch.device(device)
        self._options = options
        check_device(self._device)
        self._dtype = default_dtype(self._device)
        self._plan = options.adjust(resident_plan("fp32" if self._dtype == torch.float32 else "bf16"))
        self._memory = ByteBudgetCache()

    def get(self, entry: ModelEntry) -> LoadedModel:
        """The model of an entry, loaded if need be. Raises `LoadError`."""
        with_vision = entry.mode != "text_to_image"

        def make() -> LoadedModel:
            checkpoint = load(entry.files, self._device, self._dtype, with_vision=with_vision, plan=self._plan)
            return LoadedModel(checkpoint, self._prompts(entry, checkpoint))

        model = self._memory.get("checkpoint", entry.files, make)
        if with_vision and model.checkpoint.image_processor is None:
            raise LoadError(f"Weights '{entry.weights}' have no processor, so they draw from text but cannot edit.")
        return model

    def _prompts(self, entry: ModelEntry, checkpoint: Checkpoint) -> ModelPrompts | None:
        folder = self._options.prompts
        precision = self._plan.text_encoder.precision
        if folder is None or (encoder := encoder_identity(entry.files, checkpoint, precision)) is None:
            return None
        return ModelPrompts(PromptStore(folder.path, folder.budget), encoder)

    def free_memory(self, *, models: bool) -> None:
        """Drop what the models keep beside their weights, or the `models` too: they are loaded again when asked for."""
        for model in self._memory.values("checkpoint"):
            model.memory.clear()
        if models:
            self._memory.clear()
        free_memory()

    def usage(self) -> dict[Kind, int]:
        """The bytes kept of each kind: the models, and what their memories hold."""
        memories = (self._memory, *(model.memory for model in self._memory.values("checkpoint")))
        usages = [memory.usage() for memory in memories]
        return {kind: sum(usage[kind] for usage in usages) for kind in get_args(Kind)}
