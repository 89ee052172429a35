"""The calls of a capture, on a machine without CUDA."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from accel.kernels.cuda_capture import CudaCapture

CUDA = torch.device("cuda:0")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is called of torch.cuda, in order. A capture makes the allocator take 5000 bytes more."""
    made: list[Any] = []
    reserved = iter((1000, 6000, 6000, 6000))

    @contextmanager
    def graph(graph: Any, **options: Any) -> Iterator[None]:
        made.append(("begin", options))
        yield
        made.append("end")

    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: made.append("replay")))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: made.append("synchronize"))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: next(reserved))
    monkeypatch.setattr(torch.cuda, "device", contextmanager(lambda device: iter([None])))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return made


def test_a_function_is_captured_on_inputs_of_its_own_and_other_threads_may_go_on(calls: list[Any]) -> None:
    image, text = torch.ones(1, 2, 3), torch.zeros(1, 2, 3)
    captured = CudaCapture(CUDA).capture(lambda image, text: (image + 1, text + 1), (image, text))
    assert calls == ["synchronize", ("begin", {"pool": "pool", "capture_error_mode": "thread_local"}), "end"]
    assert [own.data_ptr() for own in captured.inputs] != [image.data_ptr(), text.data_ptr()]
    assert torch.equal(captured.outputs[0], image + 1)
    captured.replay()
    assert calls[-1] == "replay"


def test_the_memory_is_what_the_allocator_took_or_what_is_held(calls: list[Any]) -> None:
    capture, image = CudaCapture(CUDA), torch.ones(1, 2, 3)
    held = 4 * image.nbytes
    sizes = [capture.capture(lambda a, b: (a + 1, b + 1), (image, image)).bytes for _ in range(2)]
    assert sizes == [5000, held]  # the second one found room in the pool


def test_a_time_ends_when_the_device_has_computed(calls: list[Any]) -> None:
    found, seconds = CudaCapture(CUDA).timed(lambda: (torch.ones(1), torch.ones(1)))
    assert calls == ["synchronize", "synchronize"]
    assert len(found) == 2
    assert seconds >= 0
