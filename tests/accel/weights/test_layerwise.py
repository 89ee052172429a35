import pytest
import torch
from torch import nn

from accel.weights.layerwise import LayerwiseNetwork
from tests.accel.weights.fake_device import FakeEngine
from tests.accel.weights.quantized.linears import make_linear, make_rows

ROWS = make_rows(4, 64)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = make_linear(64, 64, seed=1)
        self.layers = nn.ModuleList(make_linear(64, 64, seed=number) for number in range(2, 7))
        self.other = make_linear(64, 64, seed=8)

    def forward(self, rows: torch.Tensor, *, with_other: bool = False) -> torch.Tensor:
        rows = self.first(rows)
        for layer in self.layers:
            rows = layer(rows).tanh()
        return self.other(rows) if with_other else rows


def waiting() -> tuple[Network, LayerwiseNetwork, FakeEngine]:
    network, engine = Network(), FakeEngine()
    return network, LayerwiseNetwork(list(network.layers), [[network.first], [network.other]], engine), engine


@pytest.mark.parametrize("with_other", [False, True])
def test_it_computes_what_a_resident_network_does(with_other: bool) -> None:
    network, layerwise, engine = waiting()
    for _ in range(2):
        with layerwise.running([0, 1] if with_other else [0]):
            output = network(ROWS, with_other=with_other)
        assert torch.equal(output, Network()(ROWS, with_other=with_other))
    assert not engine.overwritten_while_read()


def test_the_device_holds_two_layers_and_the_groups_that_run() -> None:
    network, layerwise, engine = waiting()
    layer = sum(-(-weight.nbytes // 256) * 256 for weight in network.first.parameters())
    with layerwise.running([0]):
        network(ROWS)
    assert engine.allocated == [layer] * 3
    assert layerwise.host_bytes == 7 * layer


def test_afterwards_all_weights_are_in_host_memory_and_no_hook_is_left() -> None:
    network, layerwise, _ = waiting()
    places = [weight.data_ptr() for weight in network.parameters()]
    with layerwise.running([0]):
        network(ROWS)
    assert [weight.data_ptr() for weight in network.parameters()] == places
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_a_group_without_weights_takes_nothing() -> None:
    network, engine = Network(), FakeEngine()
    layerwise = LayerwiseNetwork(list(network.layers), [[network.first], [nn.Identity()]], engine)
    with layerwise.running([0, 1]):
        assert torch.equal(network(ROWS), Network()(ROWS))


def test_a_failure_in_a_layer_leaves_nothing_behind() -> None:
    network, layerwise, _ = waiting()
    places = [weight.data_ptr() for weight in network.parameters()]
    with pytest.raises(RuntimeError, match="shapes"), layerwise.running([0]):
        network.layers[2](make_rows(4, 63))
    assert [weight.data_ptr() for weight in network.parameters()] == places
    with layerwise.running([0]):
        assert torch.equal(network(ROWS), Network()(ROWS))
