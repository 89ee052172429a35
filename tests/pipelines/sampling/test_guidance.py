import torch

from pipelines.sampling.guidance import apply_cfg

COND = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
UNCOND = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])


def test_every_token_keeps_the_norm_of_its_prediction() -> None:
    for scale in (1.5, 4.0, 20.0):
        torch.testing.assert_close(apply_cfg(COND, UNCOND, scale).norm(dim=-1), COND.norm(dim=-1))


def test_the_direction_moves_away_from_the_negative() -> None:
    guided = apply_cfg(COND, UNCOND, 2.0)
    torch.testing.assert_close(guided[0, 0], torch.tensor([3.0, 8.0]) * 5 / 73**0.5)
    torch.testing.assert_close(guided[0, 1], torch.tensor([2.0, -1.0]) / 5**0.5)


def test_scale_one_is_the_prediction_itself() -> None:
    torch.testing.assert_close(apply_cfg(COND, UNCOND, 1.0), COND)
