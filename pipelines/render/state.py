"""The state of one image between two steps. Knows what a render needs; runs nothing."""

from dataclasses import dataclass

import torch

from accel.block_forward import BlockForward
from accel.cache.session import CacheSession
from accel.calibration.recorder import Recorder
from pipelines.conditioning import EncodedReferences
from pipelines.controlnet.blockwise import BlockwiseControl
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import Canvas
from pipelines.editing.inpainting import Inpainting
from pipelines.lora.apply import NO_LORAS, LoraSet
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.modulation import RenderModulation
from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import Solver


@dataclass(slots=True)
class RenderState:
    """One image between two steps.

    `size` is that of the finished image in pixels. `latents` are packed [1, tokens, 4z], on the token grid `shape`.
    `cond` and `uncond` are prompt embeddings [1, tokens, width]; `uncond` is None when guidance is off. `references`
    are clean tokens that follow the image's own in the sequence. `canvas` is the seed image with its mask, and
    `inpainting` keeps masked latents equal to it. `controls` are ControlNets. `cache` decides which steps are computed
    in full; without one, all are. A `recorder` replaces it for calibration. `modulation` replaces the layers that
    compute the modulation, where these are not on the device. `velocity` is that of the latents, where it was evaluated
    with those of other images. With `batch_branches` both branches of guidance run as one batch.
    """

    checkpoint: Checkpoint
    size: tuple[int, int]
    shape: tuple[int, int, int]
    latents: torch.Tensor
    sigmas: tuple[Sigma, ...]
    solver: Solver
    cond: torch.Tensor
    uncond: torch.Tensor | None
    true_cfg_scale: float
    references: EncodedReferences | None
    seed: int
    canvas: Canvas | None = None
    inpainting: Inpainting | None = None
    loras: LoraSet = NO_LORAS
    warnings: tuple[str, ...] = ()
    controls: tuple[Control | BlockwiseControl, ...] = ()
    cache: CacheSession | None = None
    recorder: Recorder | None = None
    modulation: RenderModulation | None = None
    velocity: torch.Tensor | None = None
    batch_branches: bool = False
    step: int = 0

    @property
    def total(self) -> int:
        """The number of steps of the image."""
        return len(self.sigmas) - 1

    @property
    def compiled(self) -> BlockForward | None:
        """What runs the blocks as a compiled graph. None with LoRAs that the graph has no place for."""
        if (compiled := self.checkpoint.compiled) is None or not self.loras.hooks:
            return compiled
        return None if self.loras.low_rank is None else compiled.with_low_rank(self.loras.low_rank.blocks)
