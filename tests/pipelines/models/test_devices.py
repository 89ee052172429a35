import re

import pytest
import torch

from pipelines.errors import LoadError
from pipelines.models.devices import (
    check_device,
    compute_dtype,
    default_dtype,
    device_card,
    device_name,
    free_memory,
    limit_memory,
)
from pipelines.models.planning.cards import CPU, GIB


def test_default_dtype() -> None:
    assert default_dtype(torch.device("cpu")) == torch.float32
    assert default_dtype(torch.device("cuda:1")) == torch.bfloat16


def test_a_quantized_network_calculates_in_the_dtype_of_the_device() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [compute_dtype("fp32", device) for device in (cpu, gpu)] == [torch.float32] * 2
    assert [compute_dtype("bf16", device) for device in (cpu, gpu)] == [torch.bfloat16] * 2
    assert [compute_dtype("nf4", device) for device in (cpu, gpu)] == [torch.float32, torch.bfloat16]


def test_the_card_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 * GIB, 24 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA GeForce RTX 4090")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    card = device_card(torch.device("cuda:0"))
    assert (card.generation, card.memory) == ("ada", 20 * GIB)
    assert device_card(torch.device("cpu")) == CPU


def test_a_cpu_is_named_with_its_threads() -> None:
    assert re.fullmatch(r"cpu \(up to \d+ threads\)", device_name("cpu"))


def test_memory_can_be_given_back_without_a_gpu() -> None:
    free_memory()


@pytest.mark.parametrize(("cuda", "words"), [(None, "a build for the CPU only"), ("13.0", "finds 1 CUDA devices")])
def test_a_device_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, cuda: str | None, words: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    check_device(torch.device("cpu"))
    check_device(torch.device("cuda:0"))
    with pytest.raises(LoadError, match=f"{words}, so it cannot use cuda:1"):
        check_device(torch.device("cuda:1"))


def test_a_card_is_limited_to_what_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 8))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, device: fractions.append((fraction, device))
    )
    for size in (None, 2, 16):
        limit_memory(torch.device("cuda:1"), size)
    limit_memory(torch.device("cuda"), 4)
    limit_memory(torch.device("cpu"), 2)
    assert fractions == [(0.25, 1), (1.0, 1), (0.5, 0)]
