"""A forward of the Qwen-Image transformer that can stop between two blocks. The only file that names those blocks.

`Walk` does what `QwenImageTransformer2DModel.forward` of diffusers 0.42 does, in the same order, so that a walk from
end to end gives the same bits. Knows the transformer; knows no cache and no step.
"""

from collections.abc import Sequence
from math import ceil, prod

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel, QwenImageTransformerBlock


class Walk:
    """One forward on its way through the blocks.

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
        added: Sequence[torch.Tensor] | None,
    ) -> None:
        """`tokens` [1, tokens, channels] on the grids `shapes`, `timestep` [1], `embeds` [1, words, width].

        `added` are the ControlNets' residuals, spread over the blocks in runs of equal length.
        """
        self._transformer = transformer
        self._added = added
        self._interval = ceil(self.depth / len(added)) if added else 0
        self.position = 0
        self.noise_tokens = prod(shapes[0])
        self.image = self._projected = transformer.img_in(tokens)
        self.text = transformer.txt_in(transformer.txt_norm(embeds))
        timestep = timestep.to(self.image.dtype)
        self._index = None
        if transformer.zero_cond_t:  # references are modulated as clean pictures, at time 0
            timestep = torch.cat([timestep, timestep * 0])
            index = [0] * self.noise_tokens + [1] * sum(prod(shape) for shape in shapes[1:])
            self._index = torch.tensor([index], device=timestep.device, dtype=torch.int)
        self._time = transformer.time_text_embed(timestep, self.image)
        self._rotary = transformer.pos_embed([shapes], max_txt_seq_len=embeds.shape[1], device=self.image.device)

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self._transformer.transformer_blocks)

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
                self.image = self.image + self._added[number // self._interval]
            self.position = number + 1

    def leap(self, position: int, image: torch.Tensor, text: torch.Tensor) -> None:
        """Stand behind block `position` with these streams, as if the blocks before it had made them."""
        self.position, self.image, self.text = position, image, text

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
