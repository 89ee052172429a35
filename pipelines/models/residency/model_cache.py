"""The models that are loaded on one device."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import get_args

import structlog
import torch

from accel.kernels.attention import AttentionUnavailable
from accel.kernels.compiled_block import CompiledBlocks, Kernels
from accel.kernels.joint_heads import has_triton
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.component_files import ComponentFiles
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import check_device, compute_dtype, device_card, free_memory, limit_memory
from pipelines.models.encoder.prompt_store import ModelPrompts, PromptStore
from pipelines.models.formats.components.text_encoder import NO_VISION
from pipelines.models.loading.attention_plans import build_plans
from pipelines.models.loading.compiling import compile_blocks
from pipelines.models.loading.encoder_identity import encoder_identity
from pipelines.models.loading.kept_components import KeptComponents, shared_identities
from pipelines.models.loading.loader import load
from pipelines.models.memory import ByteBudgetCache, Kind, budgets_within, storage_bytes
from pipelines.models.plan import WeightsPlan, resident_plan
from pipelines.models.planning.admission import Admission, LearntPeaks
from pipelines.models.planning.cards import CPU, Card, Host
from pipelines.models.planning.entries import plan_entry, usual_workload
from pipelines.models.planning.host_memory import free_host_memory
from pipelines.models.planning.planner import PlanError
from pipelines.models.residency.loaded_models import LoadedModels
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions
from pipelines.models.residency.turns import DeviceTurns

log = structlog.get_logger()


class ModelCache:
    """Loads models when they are asked for. Those before wait in host memory while there is room.

    Models share the networks that they have in common. Raises `LoadError` without the device.
    """

    def __init__(self, device: str, options: ModelOptions = DEFAULT_OPTIONS) -> None:
        self._device = torch.device(device)
        self._options = options
        check_device(self._device)
        limit_memory(self._device, options.plan.vram)
        self._models = LoadedModels(DeviceTurns(self._device), self._free_host_memory)
        self._kept = KeptComponents()
        self._learnt = defaultdict[ComponentFiles, LearntPeaks](LearntPeaks)

    def get(self, entry: ModelEntry) -> LoadedModel:
        """The model of an entry, loaded if need be. Raises `LoadError`."""
        with_vision = entry.mode != "text_to_image"
        model = self._models.get(entry.files) or self._load(entry, with_vision=with_vision)
        if with_vision and model.checkpoint.image_processor is None:
            raise LoadError(f"Weights '{entry.weights}' have no processor, so they draw from text but cannot edit.")
        if with_vision and not model.checkpoint.sees:
            raise LoadError(f"Weights '{entry.files.text_encoder}': {NO_VISION}.")
        return model

    def _load(self, entry: ModelEntry, *, with_vision: bool) -> LoadedModel:
        plan, card = self._plan(entry)
        dtype = compute_dtype(plan.transformer.precision, self._device)
        self._kept.drop_others(shared_identities(entry.files, str(dtype), plan))
        self._models.make_room(plan.host_bytes, self._kept.networks)
        checkpoint = load(entry.files, self._device, dtype, with_vision=with_vision, plan=plan, kept=self._kept)
        checkpoint = replace(checkpoint, wanted_attention=self._options.attention)
        try:
            kernel = checkpoint.attention.kernel
        except AttentionUnavailable as error:
            raise LoadError(f"Weights '{entry.files}': {error}") from error
        build_plans(checkpoint, kernel, usual_workload(entry, self._options.plan), self._options.warm_words)
        if self._options.compiled is not None and self._device.type == "cuda":
            blocks = partial(CompiledBlocks, kernels=self._kernels())
            checkpoint = compile_blocks(checkpoint, self._options.compiled, blocks)
        elif self._options.relaxed or self._options.fused_heads:
            log.warning(
                "--exactness relaxed and --fused-heads on have no effect: the blocks are not compiled", model=entry.air
            )
        memory = ByteBudgetCache(budgets_within(plan.adapter_bytes))
        planned, learnt = usual_workload(entry, self._options.plan), self._learnt[entry.files]
        admission = Admission(plan, planned, card.memory, learnt) if card.memory else None
        model = LoadedModel(checkpoint, plan, self._prompts(entry, checkpoint, plan), memory, admission)
        self._models.add(entry.files, model)
        return model

    def _kernels(self) -> Kernels:
        """The kernels of compiled blocks that are wanted and can be had."""
        fused = self._options.fused_heads and has_triton()
        if self._options.fused_heads and not fused:
            log.warning("--fused-heads on has no effect: Triton is not installed")
        return Kernels(self._options.relaxed, fused)

    def _free_host_memory(self) -> int:
        """The host memory that is free for models, within what this process may use."""
        share = self._options.plan.host_memory
        return free_host_memory() if share is None else share - self._models.bytes_on("cpu")

    def _plan(self, entry: ModelEntry) -> tuple[WeightsPlan, Card]:
        """The plan of an entry, and the card with the memory that it may use."""
        options = self._options.plan
        if self._device.type not in ("cpu", "cuda"):
            return resident_plan("bf16"), CPU
        card = device_card(self._device)
        card = options.limit(replace(card, memory=card.memory + self._models.bytes_on("cuda")))
        host = Host(options.host_memory or free_host_memory() + self._models.bytes_on("cpu"))
        try:
            plan = plan_entry(entry, card, host, options)
        except PlanError as error:
            raise LoadError(f"Weights '{entry.files}': {error}") from error
        return self._options.adjust(plan), card

    def _prompts(self, entry: ModelEntry, checkpoint: Checkpoint, plan: WeightsPlan) -> ModelPrompts | None:
        folder = self._options.prompts
        precision = plan.text_encoder.precision
        if folder is None or (encoder := encoder_identity(entry.files, checkpoint, precision)) is None:
            return None
        return ModelPrompts(PromptStore(folder.path, folder.budget), encoder)

    def free_memory(self, *, models: bool) -> None:
        """Drop what the models keep beside their weights, or the `models` too: they are loaded again when asked for."""
        for model in self._models.models:
            model.memory.clear()
        if models:
            self._models.clear()
            self._kept.drop_others({})
        free_memory()

    def usage(self) -> dict[Kind, int]:
        """The bytes kept of each kind: the models, and what their memories hold."""
        usages = [model.memory.usage() for model in self._models.models]
        kept: dict[Kind, int] = {kind: sum(usage[kind] for usage in usages) for kind in get_args(Kind)}
        kept["checkpoint"] = storage_bytes(tuple(model.checkpoint for model in self._models.models))
        return kept
