import torch
from diffusers.models.normalization import RMSNorm

from accel.kernels.joint_heads import join_heads
from accel.rotary_embedding import RotaryEmbedding

WORDS, TOKENS, HEADS, HEAD = 5, 7, 3, 8


def inputs(
    dtype: torch.dtype, words: int = WORDS, tokens: int = TOKENS, heads: int = HEADS, head: int = HEAD
) -> tuple[torch.Tensor, ...]:
    """What the operator takes: text, image, the weights of their norms, and the angles of their positions."""
    generator = torch.Generator().manual_seed(0)
    text, image = (torch.randn(1, count, heads * head, generator=generator).to(dtype) for count in (words, tokens))
    weights = [torch.rand(head, generator=generator).add(0.5).to(dtype) for _ in range(2)]
    angles = [torch.rand(count, head // 2, generator=generator) * 6 for count in (words, tokens)]
    return text, image, *weights, *(part for angle in angles for part in (angle.cos(), angle.sin()))


def test_it_is_norm_rotation_and_concatenation() -> None:
    """Against the library's own norm and complex rotation."""
    text, image, text_weight, image_weight, *parts = inputs(torch.float32)
    expected = []
    for source, weight, cosines, sines in ((text, text_weight, *parts[:2]), (image, image_weight, *parts[2:])):
        norm = RMSNorm(HEAD, 1e-6)
        norm.weight = torch.nn.Parameter(weight)
        normed = norm(source.unflatten(-1, (HEADS, HEAD))).detach()
        pairs = torch.view_as_complex(normed.unflatten(-1, (-1, 2)).contiguous())
        rotated = pairs * torch.complex(cosines, sines)[:, None]
        expected.append(torch.view_as_real(rotated).flatten(-2))
    found = join_heads(text, image, text_weight, image_weight, *parts, 1e-6)
    assert found.shape == (1, WORDS + TOKENS, HEADS, HEAD)
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-6)


def test_the_compiler_knows_its_shape() -> None:
    torch.library.opcheck(join_heads, (*inputs(torch.bfloat16), 1e-6), test_utils=("test_schema", "test_faketensor"))


def test_the_parts_of_an_embedding_fit() -> None:
    text, image, *weights = inputs(torch.float32)[:4]
    rotary = RotaryEmbedding(torch.ones(TOKENS, HEAD // 2) + 0j, torch.ones(WORDS, HEAD // 2) + 0j)
    image_parts, text_parts = rotary.real
    found = join_heads(text, image, *weights, *text_parts, *image_parts, 1e-6)
    assert torch.isfinite(found).all()
