import numpy as np
import torch

from benchmarks.runs.peak_memory import peak_mib


def test_the_peak_counts_and_not_what_is_kept() -> None:
    def work() -> None:
        np.ones(64 << 20, np.uint8)

    assert 60 < peak_mib(work, torch.device("cpu")) < 80


def test_an_earlier_peak_is_forgotten() -> None:
    np.ones(256 << 20, np.uint8)
    assert peak_mib(lambda: np.ones(8 << 20, np.uint8), torch.device("cpu")) < 24
