"""Runs the Qwen-Image transformer block by block.

`BlockRunner` does what `QwenImageTransformer2DModel.forward` of diffusers 0.42 does, in the same order. A run over all
blocks therefore gives the same bits. Knows the transformer; knows no cache and no step.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import Any

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock

from accel.block_forward import BlockForward, BlockModulation, block_forward, compute_modulation, time_embedding
from accel.rotary_embedding import Rotary, RotaryEmbedding
from accel.weights.modulation_tables import StepModulation
from accel.weights.streaming import WeightStream

# Computes the residuals of all ControlNets, [1, tokens, width] each; None where no ControlNet acts. It is called when
# the first block runs, so a forward that runs no block runs no ControlNet either.
ControlResiduals = Callable[[], Sequence[torch.Tensor] | None]
# Computes what blockwise ControlNets add after a block, from the block's number and the image's own tokens behind it,
# [1, noise tokens, width] both.
AfterBlock = Callable[[int, torch.Tensor], torch.Tensor]


# Computes a range of blocks from tensors that change from step to step; returns the image and the text after it.
RangeFunction = Callable[..., tuple[torch.Tensor, torch.Tensor]]
# Runs such a function on its inputs, by itself or as a captured graph. The key is what a graph of it depends on. The
# last argument has the other tensors that it reads.
RunRange = Callable[[Hashable, RangeFunction, Sequence[torch.Tensor], object], tuple[torch.Tensor, torch.Tensor]]


def no_control_residuals() -> None:
    """The residuals of no ControlNet."""


@dataclass(frozen=True, slots=True)
class WeightAccess:
    """Where the blocks of a forward have their weights from, and what runs them. By default the transformer itself.

    `stream` copies the weights to the device. `modulation` returns the modulation of all blocks, in place of their
    modulation layers; it is called when the first block needs it. `run` runs one block. With `batch_branches` the
    branches of guidance run as one batch along the tokens: those of all images, or with `images_apart` those of each
    image. `run_range` runs several blocks at once, where nothing between them comes from outside.
    """

    stream: WeightStream | None = None
    modulation: Callable[[], StepModulation] | None = None
    run: BlockForward = block_forward
    batch_branches: bool = False
    images_apart: bool = False
    run_range: RunRange | None = None


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
        self._tokens, self.timestep, self._embeds, self._shapes = tokens, timestep, embeds, shapes
        self._compute_control_residuals = control_residuals
        self.weights = weights
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
    def image_key(self) -> Hashable:
        """What the branches of one image share, and no other image."""
        return id(self._tokens)

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
        return time_embedding(self._transformer, self.timestep.to(self._image_input.dtype))

    @cached_property
    def modulate_index(self) -> torch.Tensor | None:
        """The row of the modulation for each token, [1, tokens]; None where there is only one row."""
        if not self._transformer.zero_cond_t:
            return None
        tokens = sum(map(prod, self._shapes))
        # Made on the device: a copy from the host would wait for all that the device has to do.
        return (torch.arange(tokens, device=self._tokens.device) >= self.noise_tokens).int()[None]

    @cached_property
    def rotary(self) -> RotaryEmbedding:
        """The angles of the tokens and of the words."""
        words, device = self._embeds.shape[1], self._tokens.device
        return RotaryEmbedding(*self._transformer.pos_embed([self._shapes], max_txt_seq_len=words, device=device))

    @cached_property
    def _control_residuals(self) -> Sequence[torch.Tensor] | None:
        return self._compute_control_residuals()

    @cached_property
    def conditioning(self) -> tuple[torch.Tensor, ...]:
        """What the modulation is made of: that of all blocks where there are tables, else the time embedding."""
        if self.weights.modulation is None:
            return (self._time_embedding,)
        step = self.weights.modulation()
        return step.image, step.text

    @property
    def controlled(self) -> bool:
        """Whether ControlNets add to the hidden states between the blocks."""
        return self._after_block is not None or bool(self._control_residuals)

    def run_to(self, end: int) -> None:
        """Run the blocks from `position` up to, but not including, block `end`."""
        while self.position < end:
            with self.loaded(self.position, end):
                self.run_block()

    def run_block(self) -> None:
        """Run the next block. Its weights are on the device."""
        modulation = self.modulation(self.position, self.conditioning)
        image, self.text = self.compute_block(
            self.position, self.image, self.text, modulation, self.rotary, self.modulate_index
        )
        self.image = self._add_controls(image)
        self.position += 1

    def compute_block(
        self,
        number: int,
        image: torch.Tensor,
        text: torch.Tensor,
        modulation: BlockModulation,
        rotary: Rotary,
        modulate_index: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The image and the text after a block, from what is given alone. ControlNets are not added."""
        text, image = self.weights.run(self._block(number), image, text, modulation, rotary, modulate_index)
        return image, text

    def loaded(self, number: int, end: int) -> AbstractContextManager[None]:
        """Have the weights of a block on the device inside a `with`, and prepare for those before block `end`."""
        stream = self.weights.stream
        return nullcontext() if stream is None else stream.loaded(number, end)

    def modulation(self, number: int, conditioning: Sequence[torch.Tensor]) -> BlockModulation:
        """The modulation of a block, from what `conditioning` has."""
        if self.weights.modulation is not None:
            return StepModulation(*conditioning).block(number)
        return compute_modulation(self._block(number), *conditioning)

    def weight_addresses(self, end: int) -> tuple[int, ...]:
        """Where the weights of the blocks from `position` to before `end` lie: one of each block stands for all."""
        norms: list[Any] = [self._block(number).attn.norm_q for number in range(self.position, end)]
        return tuple(norm.weight.data_ptr() for norm in norms)

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
        index = None if self.modulate_index is None else self.modulate_index[:, : self.noise_tokens]
        with self.loaded(0, 1):
            modulation = self.modulation(0, self.conditioning)
        return block._modulate(normed, modulation.image.chunk(2, dim=-1)[0], index)[0]

    def output(self) -> torch.Tensor:
        """The transformer's output for the image's own tokens, [1, noise tokens, channels], after the last block."""
        time = self._time_embedding.chunk(2)[0] if self._transformer.zero_cond_t else self._time_embedding
        return self._transformer.proj_out(self._transformer.norm_out(self.image, time))[:, : self.noise_tokens]
