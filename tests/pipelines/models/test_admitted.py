import pytest
import torch

from pipelines.errors import SizeError
from pipelines.models import admitted as module
from pipelines.models.admitted import admitted
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission
from pipelines.models.planning.workload import Workload

CPU = torch.device("cpu")
SMALL, LARGE = Workload(512, 512), Workload(2048, 2048)


@pytest.fixture
def admission() -> Admission:
    """Of a card on which half of the large request fits."""
    return Admission(resident_plan("bf16"), Workload(128, 128), LARGE.denoise_bytes // 2)


def test_what_cannot_fit_does_not_start(admission: Admission) -> None:
    started: list[int] = []
    with pytest.raises(SizeError), admitted(admission, LARGE, CPU):
        started.append(1)
    assert not started


def test_without_an_admission_everything_starts() -> None:
    with admitted(None, LARGE, CPU):
        pass


def test_running_out_is_learnt(admission: Admission) -> None:
    with pytest.raises(torch.OutOfMemoryError), admitted(admission, Workload(128, 128), CPU):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(SizeError), admitted(admission, SMALL, CPU):
        pass


def test_peaks_are_learnt(admission: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_start_peak", lambda device: 100)
    monkeypatch.setattr(module, "_peak", lambda device: 100 + SMALL.denoise_bytes // 2)
    before = admission.expected_peak(SMALL)
    with admitted(admission, SMALL, CPU):
        pass
    assert admission.expected_peak(SMALL) == before - SMALL.denoise_bytes + int(SMALL.denoise_bytes * 0.75)


def test_torch_counts_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 9)
    card = torch.device("cuda:0")
    assert (module._start_peak(card), module._peak(card), reset) == (5, 9, [card])
