from typing import Any

import pytest
import torch
from torch import nn

from accel.weights.copy_engine import HostEngine
from pipelines.models.residency.turns import DeviceTurns
from tests.accel.weights.fake_device import FakeEngine
from tests.accel.weights.quantized.linears import make_linear, make_rows

CPU = torch.device("cpu")
ROWS = make_rows(4, 64)
BYTES = 64 * 64 * 4 + 64 * 4


class NoRoom(HostEngine):
    def allocate_host(self, size: int) -> torch.Tensor:
        raise MemoryError("no more host memory")


@pytest.fixture
def networks() -> list[Any]:
    return [make_linear(64, 64, seed=seed) for seed in range(3)]


def places(networks: list[Any]) -> list[int]:
    return [network.weight.data_ptr() for network in networks]


def test_networks_take_turns_and_compute_the_same(networks: list[Any]) -> None:
    expected = [network(ROWS) for network in networks]
    turns = DeviceTurns(CPU, FakeEngine())
    turns.add(networks)
    for number in (0, 1, 2, 0):
        turns.park([networks[number]])
        turns.bring([networks[number]])
        assert torch.equal(networks[number](ROWS), expected[number])


def test_what_stays_does_not_move(networks: list[Any]) -> None:
    turns = DeviceTurns(CPU, FakeEngine())
    turns.add(networks)
    assert turns.bytes_to_park([networks[0]]) == 2 * BYTES
    turns.park([networks[0]])
    in_a_buffer = [weight.untyped_storage().nbytes() > weight.nbytes for weight in (n.weight for n in networks)]
    assert in_a_buffer == [False, True, True]
    assert turns.bytes_to_park([networks[0]]) == 0


def test_a_second_turn_takes_no_more_host_memory(networks: list[Any]) -> None:
    turns = DeviceTurns(CPU, FakeEngine())
    turns.add(networks)
    turns.park([])
    turns.bring(networks)
    assert turns.bytes_to_park([]) == 0


def test_a_network_that_is_forgotten_is_freed(networks: list[Any]) -> None:
    turns = DeviceTurns(CPU, FakeEngine())
    turns.add(networks)
    turns.forget(networks[:1])
    assert turns.bytes_to_park([]) == BYTES
    turns.bring(networks)  # one that is not known is left alone


def test_without_host_memory_a_network_stays(networks: list[Any]) -> None:
    expected = networks[0](ROWS)
    turns = DeviceTurns(CPU, NoRoom())
    turns.add(networks)
    with pytest.raises(MemoryError):
        turns.park([])
    assert torch.equal(networks[0](ROWS), expected)


def test_on_a_cpu_nothing_moves(networks: list[Any]) -> None:
    turns = DeviceTurns(CPU)
    turns.add(networks)
    before = places(networks)
    assert turns.bytes_to_park([]) == 0
    turns.park([])
    turns.bring(networks)
    assert places(networks) == before


def test_weights_elsewhere_stay_where_they_are() -> None:
    network = nn.Linear(3, 3, device="meta")
    turns = DeviceTurns(CPU, FakeEngine())
    turns.add([network])
    assert turns.bytes_to_park([]) == 0
