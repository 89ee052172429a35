import pytest
import torch

from accel.kernels.low_rank import RANK_MULTIPLE, join_low_rank, zero_low_rank


def factors(rank: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, 6, generator=generator), torch.randn(5, rank, generator=generator)


@pytest.mark.parametrize("ranks", [(8,), (3,), (8, 16), (1, 2, 5), (4, 4)])
def test_several_additions_become_one_of_their_sum(ranks: tuple[int, ...]) -> None:
    parts = [(*factors(rank, rank), 0.5 - number) for number, rank in enumerate(ranks)]
    joined = join_low_rank(parts)
    sample, output = torch.randn(2, 3, 6), torch.randn(2, 3, 5)
    expected = output + sum(weight * (sample @ down.T @ up.T) for down, up, weight in parts)
    assert torch.allclose(joined.add(sample, output), expected, atol=1e-5)
    assert len(joined.down) == len(joined.scale) == joined.up.shape[1]
    assert len(joined.down) % RANK_MULTIPLE == 0


def test_a_fitting_one_is_not_copied() -> None:
    down, up = factors(RANK_MULTIPLE, 1)
    joined = join_low_rank([(down, up, 0.3)])
    assert (joined.down.data_ptr(), joined.up.data_ptr()) == (down.data_ptr(), up.data_ptr())


def test_zeros_add_nothing() -> None:
    like = torch.ones(1, dtype=torch.bfloat16)
    output = torch.randn(2, 5).bfloat16()
    added = zero_low_rank(6, 5, 8, like).add(torch.randn(2, 6).bfloat16(), output)
    assert torch.equal(added, output)
    assert added.dtype == torch.bfloat16
