import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.runs import environment as module
from benchmarks.runs.environment import environment


def test_a_cpu_says_what_it_runs() -> None:
    found = environment(torch.device("cpu"))
    assert (found["card"], found["torch"]) == ("cpu", torch.__version__)


def test_a_card_says_its_name_driver_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91500)
    monkeypatch.setattr(module, "_output", lambda *command: command[0])
    found = environment(torch.device("cuda:0"))
    assert (found["card"], found["memory_gib"], found["cudnn"]) == ("NVIDIA H100", 80.0, 91500)
    assert (found["driver"], found["commit"]) == ("nvidia-smi", "git")


def test_a_program_that_is_missing_or_fails_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._output("no-such-program-here") is None

    def fails(*arguments: Any, **options: Any) -> None:
        raise subprocess.CalledProcessError(1, "git")

    monkeypatch.setattr(subprocess, "run", fails)
    assert module._output("git") is None
