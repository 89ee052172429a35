"""The loaded weights of a model, and a model in use: those weights and a memory.

Plain types. Knows no folders and no requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from accel.kernels.attention import AUTO, AttentionChoice, choose_attention
from accel.kernels.block_graphs import BlockGraphs
from accel.kernels.compiled_block import SEPARATE, CompiledBlocks
from accel.weights.placement import PlacedWeights
from accel.weights.quantized.quantize import describe_linears
from accel.weights.single_frame import SingleFrameVae
from pipelines.batching import BatchGains
from pipelines.models.encoder.prompt_store import ModelPrompts
from pipelines.models.encoder.waiting_encoder import WaitingEncoder
from pipelines.models.engaged import Engaged
from pipelines.models.memory import ByteBudgetCache
from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.admission import Admission


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The networks of a model and their configurations, on one device. Shared by all requests, and never changed.

    `image_processor` is None for text-to-image weights, whose folder has none. `placed` says where the transformer's
    weights are; None means on the device. `waiting` has the text encoder on the device while it encodes; None means
    that it is always there. `compiled` runs the transformer's blocks; None means that they are not compiled.
    `formats` are those of the components' files. `wanted_attention` is a kernel, or `auto` for the fastest.
    With `batch_branches` both branches of guidance run as one batch. Without it `branch_gains` says for which renders
    they do; None for none. `graphs` replays the blocks of usual shapes; None replays none. `compiling` means that
    blocks are being compiled for later requests.
    """

    transformer: QwenImageTransformer2DModel
    vae: SingleFrameVae
    text_encoder: Qwen2_5_VLForConditionalGeneration
    tokenizer: Qwen2Tokenizer
    image_processor: Qwen2VLImageProcessorPil | None
    scheduler: Mapping[str, Any]
    device: torch.device
    dtype: torch.dtype
    placed: PlacedWeights | None = None
    waiting: WaitingEncoder | None = None
    compiled: CompiledBlocks | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    wanted_attention: str = AUTO
    batch_branches: bool = False
    branch_gains: BatchGains | None = field(default=None, repr=False)
    graphs: BlockGraphs | None = None
    compiling: bool = False

    @property
    def attention(self) -> AttentionChoice:
        """The attention kernel of the transformer. Raises `AttentionUnavailable` where a wanted one does not run."""
        return choose_attention(self.device, self.dtype, self.wanted_attention)

    @property
    def sees(self) -> bool:
        """Whether the text encoder has a vision tower. That of a GGUF file is in a file of its own."""
        return not isinstance(self.text_encoder.model.visual, nn.Identity)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in use. `memory` keeps its embeddings, LoRAs and ControlNets from one request to the next.

    `plan` is what it was loaded by; None means all on the device, in the checkpoint's dtype. `prompts` keeps encodings
    on disk; None where none are kept. `admission` refuses requests that cannot fit; None on a CPU.
    """

    checkpoint: Checkpoint
    plan: WeightsPlan | None = None
    prompts: ModelPrompts | None = None
    memory: ByteBudgetCache = field(default_factory=ByteBudgetCache, repr=False, compare=False)
    admission: Admission | None = field(default=None, repr=False, compare=False)

    @property
    def precision(self) -> str:
        """What it calculates in, for receipts and messages, such as `bfloat16` or `bfloat16, transformer fp8`."""
        dtype = str(self.checkpoint.dtype).removeprefix("torch.")
        if self.plan is None:
            return dtype
        parts = (("transformer", self.plan.transformer), ("text encoder", self.plan.text_encoder))
        quantized = [f"{name} {part.precision}" for name, part in parts if part.precision not in ("fp32", "bf16")]
        return ", ".join((dtype, *quantized))

    def engaged(self, name: str) -> Engaged:
        """What the model of this name really runs with."""
        checkpoint, plan = self.checkpoint, self.plan
        report = None if checkpoint.placed is None else checkpoint.placed.report
        linears = describe_linears(checkpoint.transformer)
        attention = checkpoint.attention
        kernels = SEPARATE if checkpoint.compiled is None else checkpoint.compiled.kernels
        waiting = checkpoint.waiting
        encoder_layers = dict(describe_linears(checkpoint.text_encoder).layers)
        if plan is not None and waiting is not None and not waiting.host_bytes:  # nothing has been read yet
            encoder_layers = {plan.text_encoder.precision: sum(encoder_layers.values())}
        return Engaged(
            model=name,
            dtype=str(checkpoint.dtype).removeprefix("torch."),
            layers=dict(linears.layers),
            encoder_layers=encoder_layers,
            encoder_place="card" if waiting is None else "host",
            resident_gib=round(linears.bytes / 2**30 if report is None else report.resident_gib, 6),
            streamed_gib=round(0.0 if report is None else report.streamed_gib, 6),
            host_gib=round(0.0 if report is None else report.host_gib, 6),
            tables=report is not None and report.tables,
            attention=attention.kernel,
            attention_warning=attention.warning,
            formats=dict(checkpoint.formats),
            compiled=checkpoint.compiled is not None,
            relaxed=kernels.gelu_in_product,
            fused_heads=kernels.fused_heads,
            compiling=checkpoint.compiling,
            batched_cfg=checkpoint.batch_branches or (checkpoint.branch_gains is not None and "auto"),
            graphs=None if checkpoint.graphs is None else checkpoint.graphs.count,
        )
