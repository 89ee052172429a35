"""Runs the Qwen-Image transformer block by block. The only file that names transformer blocks.

`BlockRunner` does what `QwenImageTransformer2DModel.forward` of diffusers 0.42 does, in the same order. A run over all
blocks therefore gives the same bits. Knows the transformer; knows no cache and no step.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from math import ceil, prod

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock

# Computes the residuals of all ControlNets, [1, tokens, width] each; None where no ControlNet acts. It is called when
# the first block runs, so a forward that runs no block runs no ControlNet either.
ControlResiduals = Callable[[], Sequence[torch.Tensor] | None]


def no_control_residuals() -> None:
    """The residuals of no ControlNet."""


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
    ) -> None:
        """`tokens` [1, tokens, channels] on the grids `shapes`, `timestep` [1], `embeds` [1, words, width].

        Each of the `control_residuals` is added after ceil(depth / count) consecutive blocks.
        """
        self._transformer = transformer
        self._tokens, self._timestep, self._embeds, self._shapes = tokens, timestep, embeds, shapes
        self._compute_control_residuals = control_residuals
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
        timestep = self._timestep.to(self._image_input.dtype)
        if self._transformer.zero_cond_t:  # reference images count as clean: their timestep is 0
            timestep = torch.cat([timestep, timestep * 0])
        return self._transformer.time_text_embed(timestep, self._image_input)

    @cached_property
    def _modulate_index(self) -> torch.Tensor | None:
        if not self._transformer.zero_cond_t:
            return None
        index = [0] * self.noise_tokens + [1] * sum(prod(shape) for shape in self._shapes[1:])
        return torch.tensor([index], device=self._tokens.device, dtype=torch.int)

    @cached_property
    def _rotary_embedding(self) -> tuple[torch.Tensor, torch.Tensor]:
        words = self._embeds.shape[1]
        return self._transformer.pos_embed([self._shapes], max_txt_seq_len=words, device=self._tokens.device)

    @cached_property
    def _control_residuals(self) -> Sequence[torch.Tensor] | None:
        return self._compute_control_residuals()

    def run_to(self, end: int) -> None:
        """Run the blocks from `position` up to, but not including, block `end`."""
        for number in range(self.position, end):
            self.text, self.image = self._transformer.transformer_blocks[number](
                hidden_states=self.image,
                encoder_hidden_states=self.text,
                encoder_hidden_states_mask=None,
                temb=self._time_embedding,
                image_rotary_emb=self._rotary_embedding,
                modulate_index=self._modulate_index,
            )
            if residuals := self._control_residuals:
                self.image = self.image + residuals[number // ceil(self.depth / len(residuals))]
            self.position = number + 1

    def skip_to(self, position: int, image: torch.Tensor, text: torch.Tensor | None = None) -> None:
        """Skip to after block `position`, using the given hidden states.

        `text` may be omitted after the last block, because only the image is read there.
        """
        self.position, self.image = position, image
        if text is not None:
            self.text = text

    def block_residual(self) -> torch.Tensor:
        """What the blocks so far have added to the image's own tokens, [1, noise tokens, width]."""
        return self.image[:, : self.noise_tokens] - self._image_input[:, : self.noise_tokens]

    def modulated_input(self) -> torch.Tensor:
        """The image's own tokens as the first block's attention receives them, [1, noise tokens, width].

        Raises `TypeError` unless the block is one of Qwen-Image.
        """
        block = self._transformer.transformer_blocks[0]
        if not isinstance(block, QwenImageTransformerBlock):
            raise TypeError(f"{type(block).__name__} is not a transformer block of Qwen-Image")
        normed = block.img_norm1(self._image_input[:, : self.noise_tokens])
        index = None if self._modulate_index is None else self._modulate_index[:, : self.noise_tokens]
        return block._modulate(normed, block.img_mod(self._time_embedding).chunk(2, dim=-1)[0], index)[0]

    def output(self) -> torch.Tensor:
        """The transformer's output for the image's own tokens, [1, noise tokens, channels], after the last block."""
        time = self._time_embedding.chunk(2)[0] if self._transformer.zero_cond_t else self._time_embedding
        return self._transformer.proj_out(self._transformer.norm_out(self.image, time))[:, : self.noise_tokens]
