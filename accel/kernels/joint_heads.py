"""The queries, or the keys, of the joint attention in one kernel: norm, rotation, and the text before the image.

Separate kernels write these values four times, and this one writes them once, to their place. It is written in Triton,
and has a twin of torch's own operators that rounds at the same points. Knows tensors; knows no block.
"""

import importlib.util
from typing import Any

import torch

from accel.rotary_embedding import RealRotary


def has_triton() -> bool:
    """Whether Triton is installed. The CUDA builds of torch bring it."""
    return importlib.util.find_spec("triton") is not None


@torch.library.custom_op("ownware::join_heads", mutates_args=())
def join_heads(
    text: torch.Tensor,
    image: torch.Tensor,
    text_weight: torch.Tensor,
    image_weight: torch.Tensor,
    text_cosines: torch.Tensor,
    text_sines: torch.Tensor,
    image_cosines: torch.Tensor,
    image_sines: torch.Tensor,
    epsilon: float,
) -> torch.Tensor:
    """Normalize and rotate the heads of `text` [1, words, width] and `image` [1, tokens, width], and join them.

    The weights [head] are those of the norms, the cosines and sines [words or tokens, head / 2] those of the positions.
    Returns [1, words + tokens, heads, head].
    """
    if not text.is_cuda:
        parts = (
            _heads(text, text_weight, (text_cosines, text_sines), epsilon),
            _heads(image, image_weight, (image_cosines, image_sines), epsilon),
        )
        return torch.cat(parts, dim=1)
    head, words, tokens = text_weight.shape[0], text.shape[1], image.shape[1]
    joint = text.new_empty(1, words + tokens, text.shape[2] // head, head)
    run_kernel(joint[:, :words], text, text_weight, (text_cosines, text_sines), epsilon)
    run_kernel(joint[:, words:], image, image_weight, (image_cosines, image_sines), epsilon)
    return joint


@join_heads.register_fake
def _(text: torch.Tensor, image: torch.Tensor, text_weight: torch.Tensor, *_: Any) -> torch.Tensor:
    """The shape of the result, for the compiler."""
    head = text_weight.shape[0]
    return text.new_empty(1, text.shape[1] + image.shape[1], text.shape[2] // head, head)


def run_kernel(
    target: torch.Tensor, source: torch.Tensor, weight: torch.Tensor, rotary: RealRotary, epsilon: float
) -> None:
    """Write the heads of `source` [1, tokens, width] to `target` [1, tokens, heads, head], a slice of the result."""
    import triton  # pyright: ignore[reportMissingImports]  only where the kernel runs

    from accel.kernels.triton_heads import heads_kernel

    _, tokens, heads, head = target.shape
    source = source.contiguous()
    heads_kernel[(tokens,)](  # pyright: ignore[reportIndexIssue]  Triton's decorator has no types
        target,
        source,
        weight,
        *rotary,
        epsilon,
        heads,
        HEAD=head,
        HEADS_BLOCK=triton.next_power_of_2(heads),
        HALF_BLOCK=triton.next_power_of_2(head // 2),
    )


def _heads(source: torch.Tensor, weight: torch.Tensor, rotary: RealRotary, epsilon: float) -> torch.Tensor:
    """The twin of the kernel."""
    heads = source.unflatten(-1, (-1, weight.shape[0]))
    inverse = torch.rsqrt(heads.float().pow(2).mean(-1, keepdim=True) + epsilon)
    normed = ((heads * inverse).to(weight.dtype) * weight).float()
    cosines, sines = (each.unsqueeze(1) for each in rotary)
    real, imaginary = normed.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([real * cosines - imaginary * sines, real * sines + imaginary * cosines], dim=-1)
    return rotated.flatten(-2).to(source.dtype)
