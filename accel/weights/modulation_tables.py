"""The modulation of all blocks at the timesteps of a render, computed once.

A third of Qwen-Image's weights computes shifts, scales and gates from the timestep alone. A table of them is small, is
the same for every prompt, and lets these weights leave the device. It is made block by block and one timestep at a
time, so each value has the bits of an ordinary forward. Knows timesteps; knows no prompt and no LoRA.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock

from accel.block_forward import BlockModulation, compute_modulation, time_embedding
from accel.weights.streaming import WeightStream


@dataclass(frozen=True, slots=True)
class StepModulation:
    """The modulation of all blocks at one timestep: image [blocks, rows, 6 · width], text [blocks, 1, 6 · width]."""

    image: torch.Tensor
    text: torch.Tensor

    def block(self, number: int) -> BlockModulation:
        """The modulation of one block."""
        return BlockModulation(self.image[number], self.text[number])

    def to(self, device: torch.device) -> "StepModulation":
        """The modulation on a device. Does not wait for the copy."""
        return StepModulation(self.image.to(device, non_blocking=True), self.text.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class ModulationTable:
    """The modulation by timestep, in host memory."""

    steps: Mapping[float, StepModulation]


def make_table(
    transformer: QwenImageTransformer2DModel, timesteps: Sequence[torch.Tensor], stream: WeightStream
) -> ModulationTable:
    """Compute the modulation at timesteps [1] in the dtype of the hidden states. Equal timesteps are computed once.

    `stream` has the modulation layers of each block.
    """
    by_value = {float(timestep): timestep for timestep in timesteps}
    embeddings = [time_embedding(transformer, timestep) for timestep in by_value.values()]
    blocks = [cast("QwenImageTransformerBlock", block) for block in transformer.transformer_blocks]
    image: list[torch.Tensor] = []
    text: list[torch.Tensor] = []
    for number, block in enumerate(blocks):
        with stream.loaded(number, len(blocks)):
            computed = [compute_modulation(block, embedding) for embedding in embeddings]
        image.append(torch.stack([each.image for each in computed]).cpu())
        text.append(torch.stack([each.text for each in computed]).cpu())
    stream.release()
    # By timestep and then by block, because one step takes the values of all blocks.
    images, texts = _pinned(torch.stack(image, dim=1), embeddings), _pinned(torch.stack(text, dim=1), embeddings)
    return ModulationTable({value: StepModulation(images[index], texts[index]) for index, value in enumerate(by_value)})


def _pinned(table: torch.Tensor, embeddings: Sequence[torch.Tensor]) -> torch.Tensor:
    """The table in memory that the device copies from by itself."""
    return table.pin_memory() if embeddings[0].is_cuda else table
