"""The models that are loaded on one device."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import structlog
import torch

from accel.kernels.attention import AttentionUnavailable
from accel.kernels.block_graphs import BlockGraphs
from accel.kernels.compiled_block import CompiledBlocks, Kernels
from accel.kernels.cuda_capture import CudaCapture
from accel.kernels.joint_heads import has_triton
from pipelines.batching import BatchGains, read_gains
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.component_files import ComponentFiles
from pipelines.errors import LoadError
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import check_device, compute_dtype, device_card, device_name, free_memory, limit_memory
from pipelines.models.encoder.prompt_store import ModelPrompts, PromptStore
from pipelines.models.formats.components.text_encoder import NO_VISION
from pipelines.models.loading.attention_plans import build_plans
from pipelines.models.loading.background import BackgroundCompilation
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
        self._compilation: tuple[ComponentFiles, BackgroundCompilation] | None = None
        self._branch_gains = self._read_branch_gains()

    def get(self, entry: ModelEntry) -> LoadedModel:
        """The model of an entry, loaded if need be. Raises `LoadError`."""
        with_vision = entry.mode != "text_to_image"
        # Another model moves the weights that a compilation reads.
        self._take_compiled(wait=self._compilation is not None and self._compilation[0] != entry.files)
        model = self._models.get(entry.files) or self._load(entry, with_vision=with_vision)
        if with_vision and model.checkpoint.image_processor is None:
            raise LoadError(f"Weights '{entry.weights}' have no processor, so they draw from text but cannot edit.")
        if with_vision and not model.checkpoint.sees:
            raise LoadError(f"Weights '{entry.files.text_encoder}': {NO_VISION}.")
        return model

    def get_compiled(self, entry: ModelEntry) -> LoadedModel:
        """The model of an entry, once its blocks are compiled if they are to be. Raises `LoadError`."""
        self.get(entry)
        self._take_compiled(wait=True)
        return self.get(entry)

    def _load(self, entry: ModelEntry, *, with_vision: bool) -> LoadedModel:
        self._take_compiled(wait=True)  # weights move now
        plan, card = self._plan(entry)
        dtype = compute_dtype(plan.transformer.precision, self._device)
        self._kept.drop_others(shared_identities(entry.files, str(dtype), plan))
        self._models.make_room(plan.host_bytes, self._kept.networks)
        checkpoint = load(entry.files, self._device, dtype, with_vision=with_vision, plan=plan, kept=self._kept)
        checkpoint = replace(
            checkpoint,
            wanted_attention=self._options.attention,
            batch_branches=self._options.batched_cfg,
            branch_gains=self._branch_gains,
            graphs=self._graphs(plan, checkpoint),
        )
        try:
            kernel = checkpoint.attention.kernel
        except AttentionUnavailable as error:
            raise LoadError(f"Weights '{entry.files}': {error}") from error
        build_plans(checkpoint, kernel, usual_workload(entry, self._options.plan), self._options.warm_words)
        if self._options.compiled is not None and self._device.type == "cuda":
            checkpoint = self._compile(entry, checkpoint, self._options.compiled)
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

    def _compile(self, entry: ModelEntry, checkpoint: Checkpoint, folder: Path) -> Checkpoint:
        """The checkpoint that the next request runs with: not compiled yet, unless its weights are streamed.

        The buffers of streamed weights serve one forward at a time, so such a model is compiled at once.
        """
        blocks = CompiledBlocks(kernels=self._kernels())  # here, so that this thread has its settings too
        compile_them = partial(compile_blocks, checkpoint, folder, lambda: blocks)
        if checkpoint.placed is not None and checkpoint.placed.blocks is not None:
            return compile_them()
        self._compilation = entry.files, BackgroundCompilation(compile_them)
        # Graphs of blocks that are not compiled would be of use for a minute only.
        return replace(checkpoint, compiling=True, graphs=None)

    def _take_compiled(self, *, wait: bool) -> None:
        """Let later requests run with blocks that have been compiled meanwhile."""
        if self._compilation is None:
            return
        key, compilation = self._compilation
        if wait or compilation.ended:
            self._compilation, compiled = None, compilation.result()
            for model in (model for model in self._models.models if model.checkpoint.compiling):
                checkpoint = compiled or replace(model.checkpoint, compiling=False)
                self._models.replace(key, replace(model, checkpoint=checkpoint))

    def _read_branch_gains(self) -> BatchGains | None:
        """What was measured about both branches as one batch on this device. None where nothing gains."""
        if (path := self._options.branch_gains) is None:
            return None
        try:
            gains = read_gains(path, device_name(str(self._device)), str(torch.__version__))
        except ValueError as error:
            log.warning("--batched-cfg auto has no effect", reason=str(error))
            return None
        gains = None if gains is None else gains.allowed(on_gpu=self._device.type == "cuda")
        if gains is None or not gains.branches_gain:
            reason = "`ownware bench batching` has measured no gain on this device with this torch"
            log.warning("--batched-cfg auto has no effect", reason=reason)
            return None
        log.info("branches run as one batch where it pays", measurements=len(gains.branches))
        return gains

    def _graphs(self, plan: WeightsPlan, checkpoint: Checkpoint) -> BlockGraphs | None:
        """What captures graphs; None where they are not wanted, or the weights are not at one place."""
        streamed = checkpoint.placed is not None and checkpoint.placed.blocks is not None
        if not self._options.graphs or self._device.type != "cuda" or streamed:
            return None
        if not plan.graph_bytes:
            log.warning("--graphs auto has no effect: the card has no memory to spare for captured graphs")
            return None
        return BlockGraphs(CudaCapture(self._device), plan.graph_bytes)

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
            if model.checkpoint.graphs is not None:
                model.checkpoint.graphs.clear()
        if models:
            self._take_compiled(wait=True)
            self._models.clear()
            self._kept.drop_others({})
        free_memory()

    def usage(self) -> dict[Kind, int]:
        """The bytes kept of each kind: the models, and what their memories hold."""
        usages = [model.memory.usage() for model in self._models.models]
        kept: dict[Kind, int] = {kind: sum(usage[kind] for usage in usages) for kind in get_args(Kind)}
        kept["checkpoint"] = storage_bytes(tuple(model.checkpoint for model in self._models.models))
        return kept
