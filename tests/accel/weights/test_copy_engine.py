"""The engine of a CPU, and the pinned memory of CUDA with its calls recorded."""

import gc
from types import SimpleNamespace

import pytest
import torch

from accel.weights import copy_engine
from accel.weights.copy_engine import HostEngine, make_engine

SIZE = 4096


def test_a_cpu_copies_at_once() -> None:
    engine = make_engine(torch.device("cpu"))
    assert isinstance(engine, HostEngine)
    with torch.inference_mode():
        source, target = engine.allocate_host(8), engine.allocate_device(8)
    source.fill_(3)  # also outside of inference
    event = engine.copy(target, source, engine.mark())
    engine.wait(event)
    assert target.tolist() == [3] * 8


class Runtime:
    """CUDA's calls for pinned memory."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.pinned: dict[int, int] = {}
        self.waited = False

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        self.pinned |= {} if self.error else {address: size}
        return self.error

    def cudaHostUnregister(self, address: int) -> int:
        assert self.waited  # copies may still read it
        del self.pinned[address]
        return 0

    def synchronize(self) -> None:
        self.waited = True


def cuda_engine(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> copy_engine.CudaEngine:
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(device=device))
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", runtime.synchronize)
    return copy_engine.CudaEngine(torch.device("cuda"))


def test_host_memory_is_pinned_until_its_last_tensor_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    buffer = cuda_engine(monkeypatch, runtime).allocate_host(SIZE)
    assert runtime.pinned == {buffer.data_ptr(): SIZE}
    view = buffer[8:16].view(torch.float32)
    del buffer
    gc.collect()
    view.fill_(1.5)
    assert len(runtime.pinned) == 1
    del view
    gc.collect()
    assert not runtime.pinned


def test_memory_that_cannot_be_pinned_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = cuda_engine(monkeypatch, Runtime(error=2))
    cleared = list[str]()
    monkeypatch.setattr(copy_engine, "_clear_last_error", lambda: cleared.append("error"))
    with pytest.raises(MemoryError, match=r"0\.00 GiB more of host memory cannot be pinned.*ulimit -l"):
        engine.allocate_host(SIZE)
    assert cleared == ["error"]
