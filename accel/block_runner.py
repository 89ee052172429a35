"""A forward of the Qwen-Image transformer that can stop between two blocks. The only file that names those blocks.

`Walk` does what `QwenImageTransformer2DModel.forward` of diffusers 0.42 does, in the same order, so that a walk from
end to end gives the same bits. Knows the transformer; knows no cache and no step.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from math import ceil, prod

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock

# Makes what ControlNets add behind the blocks. Asked when the first block is run: where none is, none of it is needed.
Added = Callable[[], Sequence[torch.Tensor] | None]


def nothing() -> None:
    """What is added where no ControlNet acts."""


class Walk:
    """One forward on its way through the blocks. Whatever it takes is made when it is first needed.

    `image` [1, tokens, width] and `text` [1, words, width] are the two streams behind block `position`. The image's
    own tokens come first, `noise_tokens` of them; those of reference pictures follow.
    """

    def __init__(
        self,
        transformer: QwenImageTransformer2DModel,
        tokens: torch.Tensor,
        timestep: torch.Tensor,
        embeds: torch.Tensor,
        shapes: Sequence[tuple[int, int, int]],
        added: Added = nothing,
    ) -> None:
        """`tokens` [1, tokens, channels] on the grids `shapes`, `timestep` [1], `embeds` [1, words, width].

        `added` makes the ControlNets' residuals, spread over the blocks in runs of equal length.
        """
        self._transformer = transformer
        self._tokens, self._timestep, self._embeds, self._shapes = tokens, timestep, embeds, shapes
        self._make_added = added
        self.position = 0
        self.noise_tokens = prod(shapes[0])

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self._transformer.transformer_blocks)

    @property
    def form(self) -> Hashable:
        """What must be the same for something of another walk to fit: the grids and the number of words."""
        return tuple(self._shapes), self._embeds.shape[1]

    @property
    def own(self) -> torch.Tensor:
        """The image's own tokens as they were given, [1, noise tokens, channels]."""
        return self._tokens[:, : self.noise_tokens]

    @cached_property
    def image(self) -> torch.Tensor:
        """The image's stream, and behind it that of the references."""
        return self._projected

    @cached_property
    def text(self) -> torch.Tensor:
        """The prompt's stream."""
        return self._transformer.txt_in(self._transformer.txt_norm(self._embeds))

    @cached_property
    def _projected(self) -> torch.Tensor:
        return self._transformer.img_in(self._tokens)

    @cached_property
    def _time(self) -> torch.Tensor:
        timestep = self._timestep.to(self._projected.dtype)
        if self._transformer.zero_cond_t:  # references are modulated as clean pictures, at time 0
            timestep = torch.cat([timestep, timestep * 0])
        return self._transformer.time_text_embed(timestep, self._projected)

    @cached_property
    def _index(self) -> torch.Tensor | None:
        if not self._transformer.zero_cond_t:
            return None
        index = [0] * self.noise_tokens + [1] * sum(prod(shape) for shape in self._shapes[1:])
        return torch.tensor([index], device=self._tokens.device, dtype=torch.int)

    @cached_property
    def _rotary(self) -> tuple[torch.Tensor, torch.Tensor]:
        words = self._embeds.shape[1]
        return self._transformer.pos_embed([self._shapes], max_txt_seq_len=words, device=self._tokens.device)

    @cached_property
    def _added(self) -> Sequence[torch.Tensor] | None:
        return self._make_added()

    def run(self, end: int) -> None:
        """Run the blocks up to block `end`, which is not run."""
        for number in range(self.position, end):
            self.text, self.image = self._transformer.transformer_blocks[number](
                hidden_states=self.image,
                encoder_hidden_states=self.text,
                encoder_hidden_states_mask=None,
                temb=self._time,
                image_rotary_emb=self._rotary,
                modulate_index=self._index,
            )
            if self._added:
                self.image = self.image + self._added[number // ceil(self.depth / len(self._added))]
            self.position = number + 1

    def leap(self, position: int, image: torch.Tensor, text: torch.Tensor | None = None) -> None:
        """Stand behind block `position` with these streams, as if the blocks before it had made them.

        The text may be left as it is behind the last block, where nobody asks for it any more.
        """
        self.position, self.image = position, image
        if text is not None:
            self.text = text

    def moved(self) -> torch.Tensor:
        """What the blocks so far have added to the image's own tokens, [1, noise tokens, width]."""
        return self.image[:, : self.noise_tokens] - self._projected[:, : self.noise_tokens]

    def modulated(self) -> torch.Tensor:
        """The image's own tokens as the first block's attention takes them in, [1, noise tokens, width]."""
        block = self._transformer.transformer_blocks[0]
        if not isinstance(block, QwenImageTransformerBlock):
            raise TypeError(f"{type(block).__name__} is no block of Qwen-Image")
        normed = block.img_norm1(self._projected[:, : self.noise_tokens])
        index = None if self._index is None else self._index[:, : self.noise_tokens]
        return block._modulate(normed, block.img_mod(self._time).chunk(2, dim=-1)[0], index)[0]

    def output(self) -> torch.Tensor:
        """The prediction for the image's own tokens, [1, noise tokens, channels]; all blocks are behind it."""
        time = self._time.chunk(2)[0] if self._transformer.zero_cond_t else self._time
        return self._transformer.proj_out(self._transformer.norm_out(self.image, time))[:, : self.noise_tokens]
