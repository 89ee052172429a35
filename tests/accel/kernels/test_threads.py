from collections.abc import Iterator

import pytest
import torch

from accel.kernels.threads import SMALL_MODEL, compute_threads

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("parameters", "device", "environment", "threads"),
    [
        (SMALL_MODEL - 1, CPU, {}, 1),
        (SMALL_MODEL, CPU, {}, 4),
        (SMALL_MODEL - 1, torch.device("cuda:0"), {}, 4),
        (SMALL_MODEL - 1, CPU, {"OMP_NUM_THREADS": "4"}, 4),
        (SMALL_MODEL - 1, CPU, {"MKL_NUM_THREADS": "4"}, 4),
    ],
)
def test_a_small_model_on_the_cpu_has_one_thread(
    parameters: int, device: torch.device, environment: dict[str, str], threads: int
) -> None:
    with compute_threads(parameters, device, environment):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 4


def test_an_error_restores_the_threads() -> None:
    with pytest.raises(ZeroDivisionError), compute_threads(1, CPU, {}):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4
