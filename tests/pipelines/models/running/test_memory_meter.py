import pytest
import torch

from pipelines.errors import SizeError
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission
from pipelines.models.planning.workload import Workload
from pipelines.models.running import memory_meter as module
from pipelines.models.running.memory_meter import MemoryMeter

CPU, CARD = torch.device("cpu"), torch.device("cuda:0")
SMALL, LARGE = Workload(512, 512), Workload(2048, 2048)


@pytest.fixture
def admission() -> Admission:
    """Of a card on which half of the large request fits."""
    return Admission(resident_plan("bf16"), Workload(128, 128), LARGE.denoise_bytes // 2)


def run(meter: MemoryMeter) -> None:
    with meter.running():
        pass


def test_what_cannot_fit_does_not_start(admission: Admission) -> None:
    with pytest.raises(SizeError):
        MemoryMeter(admission, LARGE, CPU)


def test_without_an_admission_everything_starts() -> None:
    meter = MemoryMeter(None, LARGE, CPU)
    run(meter)
    meter.record()


@pytest.mark.parametrize("shared", [True, False])
def test_running_out_is_learnt_of_a_render_that_was_alone(admission: Admission, shared: bool) -> None:
    meter = MemoryMeter(admission, Workload(128, 128), CPU)
    meter.shared = shared
    with pytest.raises(torch.OutOfMemoryError), meter.running():
        raise torch.OutOfMemoryError("CUDA out of memory")
    if shared:
        MemoryMeter(admission, SMALL, CPU)
    else:
        with pytest.raises(SizeError):
            MemoryMeter(admission, SMALL, CPU)


@pytest.mark.parametrize("shared", [True, False])
def test_the_highest_peak_is_learnt_of_a_render_that_was_alone(
    admission: Admission, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    peaks = iter([100 + SMALL.denoise_bytes // 2, 200])
    monkeypatch.setattr(module, "_allocated", lambda device: 100)
    monkeypatch.setattr(module, "_peak", lambda device: next(peaks))
    before = admission.expected_peak(SMALL)
    meter = MemoryMeter(admission, SMALL, CPU)
    run(meter)
    run(meter)
    assert admission.expected_peak(SMALL) == before
    meter.shared = shared
    meter.record()
    learnt = before - SMALL.denoise_bytes + int(SMALL.denoise_bytes * 0.75)
    assert admission.expected_peak(SMALL) == (before if shared else learnt)


def test_torch_counts_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 9)
    meter = MemoryMeter(None, SMALL, CARD)
    run(meter)
    assert (meter._before, meter._peak, reset) == (5, 9, [CARD])
