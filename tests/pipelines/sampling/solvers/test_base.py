import math

import pytest
import torch

from pipelines.sampling.solvers.base import first_order_update, half_log_snr, predict_x0, sde_first_order_update
from tests.pipelines.sampling.solvers.flows import at

X0, NOISE = torch.linspace(-1, 1, 32).view(1, 4, 8), torch.linspace(2, -2, 32).view(1, 4, 8)


def sample_at(sigma: float) -> torch.Tensor:
    return (1 - sigma) * X0 + sigma * NOISE


def test_half_log_snr() -> None:
    assert half_log_snr(0.5) == 0.0
    assert half_log_snr(0.2) == pytest.approx(math.log(4))
    assert (half_log_snr(1.0), half_log_snr(0.0)) == (-math.inf, math.inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_x0_is_predicted_in_float32(dtype: torch.dtype) -> None:
    sample, x0 = predict_x0(lambda *_: (NOISE - X0).to(dtype), sample_at(0.75).to(dtype), at(0.75))
    assert sample.dtype == x0.dtype == torch.float32
    torch.testing.assert_close(x0, X0, atol=1e-6 if dtype == torch.float32 else 0.05, rtol=1e-2)


@pytest.mark.parametrize("sigma_next", [0.6, 0.1, 0.0])
@pytest.mark.parametrize("sigma", [1.0, 0.8])
def test_with_the_true_x0_the_update_stays_on_the_flow(sigma: float, sigma_next: float) -> None:
    torch.testing.assert_close(first_order_update(sample_at(sigma), X0, sigma, sigma_next), sample_at(sigma_next))


@pytest.mark.parametrize("sigma", [1.0, 0.8])
def test_the_sde_update_keeps_the_noise_at_unit_variance(sigma: float) -> None:
    start, fresh = torch.randn(1, 100_000, 1), torch.randn(1, 100_000, 1)
    end = sde_first_order_update(sigma * start, torch.zeros(1), sigma, 0.3, fresh)
    assert end.std().item() == pytest.approx(0.3, abs=0.005)


def test_the_sde_update_to_zero_is_x0() -> None:
    torch.testing.assert_close(sde_first_order_update(sample_at(0.4), X0, 0.4, 0.0, torch.randn(1, 4, 8)), X0)
