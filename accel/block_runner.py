"""Runs the Qwen-Image transformer block by block.

`BlockRunner` does what `QwenImageTransformer2DModel.forward` of diffusers 0.42 does, in the same order. A run over all
blocks therefore gives the same bits. Knows the transformer; knows no cache and no step.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock

from accel.block_forward import BlockForward, BlockModulation, block_forward, compute_modulation, time_embedding
from accel.rotary_embedding import RotaryEmbedding
from accel.weights.modulation_tables import StepModulation
from accel.weights.streaming import WeightStream

# Computes the residuals of all ControlNets, [1, tokens, width] each; None where no ControlNet acts. It is called when
# the first block runs, so a forward that runs no block runs no ControlNet either.
ControlResiduals = Callable[[], Sequence[torch.Tensor] | None]
# Computes what blockwise ControlNets add after a block, from the block's number and the image's own tokens behind it,
# [1, noise tokens, width] both.
AfterBlock = Callable[[int, torch.Tensor], torch.Tensor]


def no_control_residuals() -> None:
    """The residuals of no ControlNet."""


@dataclass(frozen=True, slots=True)
class WeightAccess:
    """Where the blocks of a forward have their weights from, and what runs them. By default the transformer itself.

    `stream` copies the weights to the device. `modulation` returns the modulation of all blocks, in place of their
    modulation layers; it is called when the first block needs it. `run` runs one block.
    """

    stream: WeightStream | None = None
    modulation: Callable[[], StepModulation] | None = None
    run: BlockForward = block_forward


RESIDENT = WeightAccess()


class BlockRunner:
    """One forward of the transformer that can stop after any block. Every input is computed when it is first needed.

    `image` [1, tokens, width] and `text` [1, words, width] are the hidden states after block `position`. The tokens of
    the image come first, `noise_tokens` of them. The tokens of reference images follow.
    """

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        tokens: torch.Tensor,
        timestep: torch.Tensor,
        embeds: torch.Tensor,
        shapes: Sequence[tuple[int, int, int]],
        control_residuals: ControlResiduals = no_control_residuals,
        weights: WeightAccess = RESIDENT,
        after_block: AfterBlock | None = None,
    ) -> None:
        """`tokens` [1, tokens, channels] on the grids `shapes`, `timestep` [1], `embeds` [1, words, width].

        Each of the `control_residuals` is added after ceil(depth / count) consecutive blocks. `after_block` sees the
        tokens before these residuals are added.
        """
        self._transformer = transformer
        self._tokens, self._timestep, self._embeds, self._shapes = tokens, timestep, embeds, shapes
        self._compute_control_residuals = control_residuals
        self._weights = weights
        self._after_block = after_block
        self.position = 0
        self.noise_tokens = prod(shapes[0])

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self._transformer.transformer_blocks)

    @property
    def layout(self) -> Hashable:
        """The grids and the number of words. Hidden states fit another forward only where its layout is equal."""
        return tuple(self._shapes), self._embeds.shape[1]

    @property
    def latents(self) -> torch.Tensor:
        """The image's own tokens before the first layer, [1, noise tokens, channels]."""
        return self._tokens[:, : self.noise_tokens]

    @cached_property
    def image(self) -> torch.Tensor:
        """The hidden states of the image, followed by those of the reference images."""
        return self._image_input

    @cached_property
    def text(self) -> torch.Tensor:
        """The hidden states of the prompt."""
        return self._transformer.txt_in(self._transformer.txt_norm(self._embeds))

    @cached_property
    def _image_input(self) -> torch.Tensor:
        return self._transformer.img_in(self._tokens)

    @cached_property
    def _time_embedding(self) -> torch.Tensor:
        return time_embedding(self._transformer, self._timestep.to(self._image_input.dtype))

    @cached_property
    def _modulate_index(self) -> torch.Tensor | None:
        if not self._transformer.zero_cond_t:
            return None
        index = [0] * self.noise_tokens + [1] * sum(prod(shape) for shape in self._shapes[1:])
        return torch.tensor([index], device=self._tokens.device, dtype=torch.int)

    @cached_property
    def _rotary(self) -> RotaryEmbedding:
        words, device = self._embeds.shape[1], self._tokens.device
        return RotaryEmbedding(*self._transformer.pos_embed([self._shapes], max_txt_seq_len=words, device=device))

    @cached_property
    def _control_residuals(self) -> Sequence[torch.Tensor] | None:
        return self._compute_control_residuals()

    @cached_property
    def _step_modulation(self) -> StepModulation | None:
        return None if self._weights.modulation is None else self._weights.modulation()

    def run_to(self, end: int) -> None:
        """Run the blocks from `position` up to, but not including, block `end`."""
        run_together([self], end)

    def run_block(self) -> None:
        """Run the next block. Its weights are on the device."""
        block = self._block(self.position)
        modulation = self._modulation(self.position)
        self.text, self.image = self._weights.run(
            block, self.image, self.text, modulation, self._rotary, self._modulate_index
        )
        self.image = self._add_controls(self.image)
        self.position += 1

    def loaded(self, number: int, end: int) -> AbstractContextManager[None]:
        """Have the weights of a block on the device inside a `with`, and prepare for those before block `end`."""
        stream = self._weights.stream
        return nullcontext() if stream is None else stream.loaded(number, end)

    def _modulation(self, number: int) -> BlockModulation:
        if self._step_modulation is not None:
            return self._step_modulation.block(number)
        return compute_modulation(self._block(number), self._time_embedding)

    def _add_controls(self, image: torch.Tensor) -> torch.Tensor:
        """Add to the hidden states behind the current block what all ControlNets add there."""
        added = image
        if residuals := self._control_residuals:
            added = image + residuals[self.position // ceil(self.depth / len(residuals))]
        if self._after_block is not None:
            more = self._after_block(self.position, image[:, : self.noise_tokens])
            added = torch.cat([added[:, : self.noise_tokens] + more, added[:, self.noise_tokens :]], dim=1)
        return added

    def _block(self, number: int) -> QwenImageTransformerBlock:
        block = self._transformer.transformer_blocks[number]
        if not isinstance(block, QwenImageTransformerBlock):
            raise TypeError(f"{type(block).__name__} is not a transformer block of Qwen-Image")
        return block

    def skip_to(self, position: int, image: torch.Tensor, text: torch.Tensor | None = None) -> None:
        """Skip to after block `position`, using the given hidden states.

        `text` may be omitted after the last block, because only the image is read there.
        """
        self.position, self.image = position, image
        if text is not None:
            self.text = text

    def block_residual(self) -> torch.Tensor:
        """The sum of what the blocks so far added to the image's own tokens, [1, noise tokens, width]."""
        return self.image[:, : self.noise_tokens] - self._image_input[:, : self.noise_tokens]

    def modulated_input(self) -> torch.Tensor:
        """The image's own tokens as the first block's attention receives them, [1, noise tokens, width].

        Raises `TypeError` unless the block is one of Qwen-Image.
        """
        block = self._block(0)
        normed = block.img_norm1(self._image_input[:, : self.noise_tokens])
        index = None if self._modulate_index is None else self._modulate_index[:, : self.noise_tokens]
        with self.loaded(0, 1):
            modulation = self._modulation(0)
        return block._modulate(normed, modulation.image.chunk(2, dim=-1)[0], index)[0]

    def output(self) -> torch.Tensor:
        """The transformer's output for the image's own tokens, [1, noise tokens, channels], after the last block."""
        time = self._time_embedding.chunk(2)[0] if self._transformer.zero_cond_t else self._time_embedding
        return self._transformer.proj_out(self._transformer.norm_out(self.image, time))[:, : self.noise_tokens]


def run_together(runners: Sequence[BlockRunner], end: int) -> None:
    """Run the blocks of several forwards of one transformer up to, but not including, block `end`.

    Each block runs for all of them before the next one, so its weights are needed on the device only once.
    """
    if not runners:
        return
    for number in range(min(runner.position for runner in runners), end):
        with runners[0].loaded(number, end):
            for runner in runners:
                if runner.position == number:
                    runner.run_block()
