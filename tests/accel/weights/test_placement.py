"""What stays on the device and what waits in host memory."""

import copy
from typing import Any

import pytest
import torch

from accel.weights.placement import MODULATION_LAYERS, module_bytes, place_transformer, streamed_blocks
from tests.accel.inputs import DEPTH, make_inputs
from tests.accel.weights.fake_device import FakeEngine

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("depth", "wanted", "numbers"),
    [
        (6, 0, ()),
        (6, 1, (5,)),
        (6, 20, (2, 5)),
        (6, 21, (1, 3, 5)),
        (6, 60, (0, 1, 2, 3, 4, 5)),
        (6, 999, (0, 1, 2, 3, 4, 5)),
        (60, 140, (3, 7, 11, 16, 20, 24, 29, 33, 37, 41, 46, 50, 54, 59)),
    ],
)
def test_the_fewest_blocks_are_streamed_evenly_spread(depth: int, wanted: int, numbers: tuple[int, ...]) -> None:
    assert streamed_blocks([10] * depth, wanted) == numbers


def test_without_options_everything_is_resident(transformer: Any) -> None:
    placement = place_transformer(copy.deepcopy(transformer), CPU)
    assert placement.blocks is placement.modulation is None
    assert placement.report.resident_gib * 2**30 == pytest.approx(module_bytes([transformer]))
    assert str(placement.report) == "0.00 GiB on the device"


@pytest.mark.parametrize("tables", [False, True])
def test_the_report_counts_every_byte(transformer: Any, tables: bool) -> None:
    model = copy.deepcopy(transformer)
    placement = place_transformer(model, CPU, streamed_bytes=1, tables=tables, engine=FakeEngine())
    report = placement.report
    assert placement.blocks is not None
    assert (report.streamed_blocks, report.blocks, report.tables) == (1, DEPTH, tables)
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
    assert ("modulation from tables" in str(report)) == tables
    assert "streamed a step (1 of 5 blocks)" in str(report)


@torch.inference_mode()
def test_all_weights_are_as_before(transformer: Any) -> None:
    model = copy.deepcopy(transformer)
    placement = place_transformer(model, CPU, streamed_bytes=10**9, tables=True, engine=FakeEngine())
    assert placement.report.streamed_blocks == DEPTH
    assert all(map(torch.equal, model.state_dict().values(), transformer.state_dict().values()))
    assert torch.equal(
        make_inputs().runner(model).modulated_input(), make_inputs().runner(transformer).modulated_input()
    )
