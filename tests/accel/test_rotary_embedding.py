import torch

from accel.rotary_embedding import RotaryEmbedding


def test_the_real_parts_are_cosines_and_sines() -> None:
    angles = torch.rand(3, 4)
    embedding = RotaryEmbedding(torch.polar(torch.ones(3, 4), angles), torch.polar(torch.ones(3, 4), 2 * angles))
    for (cosines, sines), expected in zip(embedding.real, (angles, 2 * angles), strict=True):
        assert torch.allclose(cosines, expected.cos())
        assert torch.allclose(sines, expected.sin())


def test_all_blocks_share_the_real_parts() -> None:
    embedding = RotaryEmbedding(torch.ones(2, 2, dtype=torch.complex64), torch.ones(1, 2, dtype=torch.complex64))
    assert embedding.real is embedding.real
