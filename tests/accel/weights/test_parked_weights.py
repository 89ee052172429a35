from typing import Any

import pytest
import torch
from torch import nn

from accel.weights import parked_weights
from accel.weights.copy_engine import HostEngine
from accel.weights.parked_weights import ParkedWeights
from tests.accel.weights.fake_device import FakeEngine
from tests.accel.weights.quantized.linears import make_linear, make_rows

ROWS = make_rows(4, 64)


class LittleHost(HostEngine):
    """A host with room for a given number of blocks."""

    def __init__(self, blocks: int) -> None:
        self.left = blocks

    def allocate_host(self, size: int) -> torch.Tensor:
        if not self.left:
            raise MemoryError("no more host memory")
        self.left -= 1
        return super().allocate_host(size)


@pytest.fixture
def network() -> Any:
    return nn.Sequential(make_linear(64, 64, seed=1), make_linear(64, 32, seed=2))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked_weights, "_BLOCK_BYTES", 1)


def weights(network: nn.Module) -> list[torch.Tensor]:
    return list(network.parameters())


def test_a_network_that_comes_back_computes_the_same(network: Any) -> None:
    expected, engine = network(ROWS), FakeEngine()
    parked = ParkedWeights(weights(network), engine)
    for _ in range(2):
        parked.park()
        assert parked.parked
        parked.unpark()
        assert torch.equal(network(ROWS), expected)
    assert parked.bytes == sum(weight.nbytes for weight in weights(network))


def test_weights_are_copied_to_host_memory_once(network: Any) -> None:
    parked = ParkedWeights(weights(network), FakeEngine())
    assert parked.host_bytes == 0
    places = []
    for _ in range(2):
        parked.park()
        places.append([weight.data_ptr() for weight in weights(network)])
        parked.unpark()
    assert places[0] == places[1]
    assert parked.host_bytes >= parked.bytes


def test_what_is_said_twice_is_done_once(network: Any) -> None:
    engine = FakeEngine()
    parked = ParkedWeights(weights(network), engine)
    parked.unpark()
    assert not engine.copies
    parked.park()
    parked.park()
    parked.unpark()
    parked.unpark()
    assert len(engine.copies) == 4


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_without_host_memory_the_network_stays_whole(network: Any, blocks: int) -> None:
    expected = network(ROWS)
    parked = ParkedWeights(weights(network), LittleHost(blocks))
    with pytest.raises(MemoryError):
        parked.park()
    assert not parked.parked
    assert torch.equal(network(ROWS), expected)
