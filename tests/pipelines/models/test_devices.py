import re

import torch

from pipelines.models.devices import default_dtype, device_name, free_memory


def test_default_dtype() -> None:
    assert default_dtype(torch.device("cpu")) == torch.float32
    assert default_dtype(torch.device("cuda:1")) == torch.bfloat16


def test_a_cpu_is_named_with_its_threads() -> None:
    assert re.fullmatch(r"cpu \(\d+ threads\)", device_name("cpu"))


def test_memory_can_be_given_back_without_a_gpu() -> None:
    free_memory()
