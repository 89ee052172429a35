import pytest
import torch

from benchmarks.runs.synchronize import synchronize


@pytest.mark.parametrize(("name", "waits"), [("cpu", 0), ("cuda:0", 1)])
def test_only_a_gpu_has_a_queue(monkeypatch: pytest.MonkeyPatch, name: str, waits: int) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    synchronize(torch.device(name))
    assert waited == [torch.device(name)] * waits
