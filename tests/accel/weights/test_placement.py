"""What stays on the device and what waits in host memory."""

import copy
from typing import Any

import pytest
import torch

from accel.weights.host_block import weights_of
from accel.weights.placement import MODULATION_LAYERS, HostShare, place_transformer
from tests.accel.inputs import DEPTH, make_inputs
from tests.accel.weights.fake_device import FakeEngine

CPU = torch.device("cpu")


def module_bytes(modules: list[torch.nn.Module]) -> int:
    return sum(weight.nbytes for weight in weights_of(modules))


@pytest.mark.parametrize(
    ("depth", "blocks", "numbers"),
    [
        (6, 0, ()),
        (6, 1, (5,)),
        (6, 2, (2, 5)),
        (6, 3, (1, 3, 5)),
        (6, 6, (0, 1, 2, 3, 4, 5)),
        (6, 99, (0, 1, 2, 3, 4, 5)),
        (60, 14, (3, 7, 11, 16, 20, 24, 29, 33, 37, 41, 46, 50, 54, 59)),
    ],
)
def test_streamed_blocks_are_spread_evenly(depth: int, blocks: int, numbers: tuple[int, ...]) -> None:
    assert HostShare(blocks).numbers(depth) == numbers


@pytest.mark.parametrize("share", [HostShare(), HostShare(2), HostShare(0, tables=True), HostShare(5, tables=True)])
def test_a_layer_waits_exactly_where_it_is_placed_so(transformer: Any, share: HostShare) -> None:
    model = copy.deepcopy(transformer)
    placed = place_transformer(model, CPU, share, engine=FakeEngine())
    streams = [stream for stream in (placed.blocks, placed.modulation) if stream is not None]
    waiting = {id(tensor) for stream in streams for tensor in stream.tensors}
    for name, parameter in model.named_parameters():
        assert share.waits(name.rpartition(".")[0], DEPTH) == (id(parameter) in waiting), name


def test_without_options_everything_is_resident(transformer: Any) -> None:
    placement = place_transformer(copy.deepcopy(transformer), CPU)
    assert placement.blocks is placement.modulation is None
    assert placement.report.resident_gib * 2**30 == pytest.approx(module_bytes([transformer]))


@pytest.mark.parametrize("tables", [False, True])
def test_the_report_counts_every_byte(transformer: Any, tables: bool) -> None:
    model = copy.deepcopy(transformer)
    placement = place_transformer(model, CPU, HostShare(1, tables), engine=FakeEngine())
    report = placement.report
    assert placement.blocks is not None
    assert (report.streamed_blocks, report.tables) == (1, tables)
    assert (placement.modulation is not None) == tables
    block = transformer.transformer_blocks[0]
    modulation = module_bytes([block.get_submodule(name) for name in MODULATION_LAYERS])
    alignment = 256 * len(list(block.parameters()))
    streamed = module_bytes([block]) - (modulation if tables else 0)
    assert streamed <= report.streamed_gib * 2**30 < streamed + alignment
    waiting = streamed + (DEPTH * modulation if tables else 0)
    assert waiting <= report.host_gib * 2**30 < waiting + alignment * DEPTH
    resident = module_bytes([transformer]) - waiting + streamed  # and one buffer
    assert resident <= report.resident_gib * 2**30 < resident + alignment


@torch.inference_mode()
def test_all_weights_are_as_before(transformer: Any) -> None:
    model = copy.deepcopy(transformer)
    placement = place_transformer(model, CPU, HostShare(DEPTH, tables=True), engine=FakeEngine())
    assert placement.report.streamed_blocks == DEPTH
    assert all(map(torch.equal, model.state_dict().values(), transformer.state_dict().values()))
    assert torch.equal(
        make_inputs().runner(model).modulated_input(), make_inputs().runner(transformer).modulated_input()
    )
