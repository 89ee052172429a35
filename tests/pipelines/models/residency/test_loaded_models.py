import copy
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch

from accel.weights.copy_engine import HostEngine
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.residency import loaded_models
from pipelines.models.residency.loaded_models import RESERVE_BYTES, LoadedModels
from pipelines.models.residency.turns import DeviceTurns
from tests.accel.weights.fake_device import FakeEngine
from tests.adapters import velocity

CPU = torch.device("cpu")


class Host(FakeEngine):
    """A host with a given number of bytes beyond the reserve. Buffers take from them until they are freed."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size + RESERVE_BYTES
        self._buffers = weakref.WeakSet[torch.Tensor]()

    @property
    def free(self) -> int:
        return self._size - sum(buffer.nbytes for buffer in list(self._buffers))

    def allocate_host(self, size: int) -> torch.Tensor:
        buffer = super().allocate_host(size)
        self._buffers.add(buffer)
        return buffer


class Unpinnable(HostEngine):
    def allocate_host(self, size: int) -> torch.Tensor:
        raise MemoryError("cannot be pinned")


def other(checkpoint: Checkpoint) -> LoadedModel:
    """A model with a transformer of its own, and the text encoder and VAE of the others."""
    transformer = copy.deepcopy(checkpoint.transformer)
    transformer.proj_out.weight.data.mul_(2)
    return LoadedModel(replace(checkpoint, transformer=transformer))


def size_of(checkpoint: Checkpoint) -> int:
    return sum(weight.nbytes for weight in (*checkpoint.transformer.parameters(), *checkpoint.transformer.buffers()))


@pytest.fixture
def shared(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint whose weights may move."""
    encoder, vae = copy.deepcopy(checkpoint.text_encoder), copy.deepcopy(checkpoint.vae)
    return replace(checkpoint, text_encoder=encoder, vae=vae)


def make(host: Host) -> LoadedModels:
    return LoadedModels(DeviceTurns(CPU, host), lambda: host.free)


def load(models: LoadedModels, name: str, model: LoadedModel, needed: int = 0) -> LoadedModel:
    models.make_room(needed, (model.checkpoint.vae, model.checkpoint.text_encoder))
    models.add(name, model)
    return model


def test_models_take_turns_and_draw_the_same(shared: Checkpoint) -> None:
    host = Host(10**9)
    models = make(host)
    named = {name: load(models, name, other(shared)) for name in "abc"}
    expected = {name: velocity(copy.deepcopy(other(shared).checkpoint.transformer)) for name in "abc"}
    for name in "abcca":
        assert models.get(name) is named[name]
        assert torch.equal(velocity(named[name].checkpoint.transformer), expected[name])
    assert host.free < 10**9 + RESERVE_BYTES


@pytest.mark.slow
def test_what_they_share_stays_on_the_device(shared: Checkpoint) -> None:
    models = make(Host(10**9))
    for name in "ab":
        load(models, name, other(shared))
    place = shared.vae.quant_conv.conv.weight.data_ptr()
    for name in "aba":
        models.get(name)
        assert shared.vae.quant_conv.conv.weight.data_ptr() == place


@pytest.mark.slow
def test_the_least_recently_used_leaves_when_host_memory_is_short(shared: Checkpoint) -> None:
    models = make(Host(int(2.5 * size_of(shared))))
    a, _, c = (load(models, name, other(shared)) for name in "abc")
    assert models.get("a") is a  # which takes the place of b: c must wait too
    assert models.models == (c, a)
    d = load(models, "d", other(shared))
    assert models.models == (c, a, d)


def test_a_model_that_needs_host_memory_makes_others_leave(shared: Checkpoint) -> None:
    host = Host(int(2.5 * size_of(shared)))
    models = make(host)
    load(models, "a", other(shared))
    load(models, "b", other(shared), needed=2 * size_of(shared))
    assert models.get("a") is None
    assert models.get("b") is not None


def test_without_pinned_memory_the_model_before_is_dropped(shared: Checkpoint) -> None:
    models = LoadedModels(DeviceTurns(CPU, Unpinnable()), lambda: 10**12)
    load(models, "a", other(shared))
    b = load(models, "b", other(shared))
    assert models.models == (b,)


@pytest.mark.slow
def test_on_a_cpu_models_stay_while_there_is_room(shared: Checkpoint) -> None:
    free = [RESERVE_BYTES + 100]
    models = LoadedModels(DeviceTurns(CPU), lambda: free[0])
    load(models, "a", other(shared), needed=100)
    load(models, "b", other(shared), needed=100)
    assert models.get("a") is not None
    free[0] = RESERVE_BYTES
    load(models, "c", other(shared), needed=100)
    assert [models.get(name) is not None for name in "abc"] == [False, False, True]


def test_clearing_forgets_all(shared: Checkpoint) -> None:
    models = make(Host(10**9))
    load(models, "a", other(shared))
    models.clear()
    assert models.models == ()
    assert models.get("a") is None


def test_a_model_that_leaves_a_gpu_gives_back_what_it_kept_there(monkeypatch: pytest.MonkeyPatch, shared: Any) -> None:
    models = make(Host(10**9))
    on_gpu = LoadedModel(replace(other(shared).checkpoint, device=torch.device("cuda")))
    on_gpu.memory.get("lora", "a", lambda: 1)
    load(models, "a", on_gpu)
    load(models, "b", other(shared))
    assert on_gpu.memory.values("lora") == ()
    freed: list[int] = []
    monkeypatch.setattr(loaded_models, "free_memory", lambda: freed.append(1))
    models.get("a")
    assert freed


def test_before_the_first_load_there_is_nothing_to_give_back(monkeypatch: pytest.MonkeyPatch, shared: Any) -> None:
    freed: list[int] = []
    monkeypatch.setattr(loaded_models, "free_memory", lambda: freed.append(1))
    models = make(Host(10**9))
    load(models, "a", other(shared))
    assert freed == []
    load(models, "b", other(shared))
    assert freed
