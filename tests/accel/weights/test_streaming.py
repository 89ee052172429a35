"""Streaming under a clock: order of copies and computations, reuse of buffers, interruption, and dtypes."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from accel.weights.copy_engine import HostEngine
from accel.weights.streaming import WeightStream
from tests.accel.weights.fake_device import FakeEngine

DEPTH = 6


class Layer(nn.Module):
    """Weights of several dtypes and layouts, as quantized modules have them."""

    quantized: torch.Tensor
    packed: torch.Tensor
    scale: torch.Tensor

    def __init__(self, number: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(number)
        self.weight = nn.Parameter(torch.randn(5, 3, generator=generator), requires_grad=False)
        self.tied = self.weight
        self.register_buffer("quantized", torch.randint(-9, 9, (7,), generator=generator, dtype=torch.int8))
        self.register_buffer("packed", torch.randn(4, 4, generator=generator).to(torch.float8_e4m3fn).t())
        self.register_buffer("scale", torch.tensor(0.5 + number, dtype=torch.bfloat16))

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        total = (self.weight + self.tied).sum() + self.quantized.sum() + self.packed.float().sum() + self.scale
        return sample + total


def layers() -> list[Layer]:
    return [Layer(number) for number in range(DEPTH)]


def run(stream: WeightStream, blocks: Sequence[Layer], start: int = 0, end: int = DEPTH) -> torch.Tensor:
    sample = torch.zeros(1)
    for number in range(start, end):
        with stream.loaded(number, end):
            sample = blocks[number](sample)
    return sample


def expected(start: int = 0, end: int = DEPTH) -> torch.Tensor:
    sample = torch.zeros(1)
    for block in layers()[start:end]:
        sample = block(sample)
    return sample


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def make(engine: FakeEngine, streamed: Sequence[int] = range(DEPTH)) -> tuple[WeightStream, list[Layer]]:
    blocks = layers()
    return WeightStream([[block] for block in blocks], streamed, engine), blocks


@pytest.mark.parametrize("streamed", [range(DEPTH), (1, 3, 5), (5,), (0, 1)], ids=str)
def test_streamed_blocks_compute_what_resident_ones_do(engine: FakeEngine, streamed: Sequence[int]) -> None:
    stream, blocks = make(engine, streamed)
    for _ in range(3):
        assert torch.equal(run(stream, blocks), expected())
    assert not engine.overwritten_while_read()
    assert len(engine.allocated) == min(2, len(streamed))


def test_layouts_and_ties_stay(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    for block in blocks:
        with stream.loaded(0, 1):
            assert block.tied is block.weight
            assert not block.packed.is_contiguous()
            assert block.packed.dtype == torch.float8_e4m3fn


def test_a_buffer_is_overwritten_only_after_its_block_has_run(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    run(stream, blocks)
    assert len(engine.copies) == DEPTH + 2  # two ahead for the next forward
    assert {copy.buffer for copy in engine.copies[::2]} != {copy.buffer for copy in engine.copies[1::2]}
    for number in range(2, DEPTH):
        assert engine.copies[number].start >= engine.runs[number - 2][1]


def test_copies_run_beside_the_computation(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    engine.seconds_per_byte = engine.seconds / max(stream.bytes_by_block.values())  # as fast as a block runs
    run(stream, blocks)
    run(stream, blocks)
    spent = 2 * DEPTH * engine.seconds
    assert engine.compute_clock == pytest.approx(spent + engine.seconds)  # only the first copy was waited for


def copied(engine: FakeEngine) -> int:
    """The bytes that went to the device."""
    return sum(copy.source.nbytes for copy in engine.copies)


def test_a_slow_copy_is_waited_for(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    engine.seconds_per_byte = 2 * engine.seconds / max(stream.bytes_by_block.values())
    assert torch.equal(run(stream, blocks), expected())
    for number, (start, _, _) in enumerate(engine.runs):
        assert start >= engine.copies[number].end


def test_a_part_of_the_blocks_copies_these_alone(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    assert torch.equal(run(stream, blocks, 0, 3), expected(0, 3))
    assert len(engine.copies) == 3
    assert copied(engine) == sum(stream.bytes_by_block[number] for number in range(3))


def test_what_is_on_the_device_is_not_copied_again(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    run(stream, blocks)
    before = copied(engine)
    run(stream, blocks, 0, 2)
    run(stream, blocks, 0, 1)
    assert copied(engine) == before


def test_nothing_is_copied_ahead_where_the_blocks_run_once(engine: FakeEngine) -> None:
    blocks = layers()
    stream = WeightStream([[block] for block in blocks], range(DEPTH), engine, repeated=False)
    run(stream, blocks)
    assert copied(engine) == sum(stream.bytes_by_block.values())


@pytest.mark.parametrize("at", range(DEPTH))
def test_an_interruption_anywhere_leaves_the_weights_in_host_memory(engine: FakeEngine, at: int) -> None:
    stream, blocks = make(engine)

    def interrupted() -> None:
        for number in range(DEPTH):
            with stream.loaded(number, DEPTH):
                if number == at:
                    raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    for block, original in zip(blocks, layers(), strict=True):
        assert all(map(torch.equal, block.parameters(), original.parameters()))
        assert torch.equal(block.quantized, original.quantized)
    assert torch.equal(run(stream, blocks), expected())
    assert not engine.overwritten_while_read()


def test_released_buffers_are_allocated_again(engine: FakeEngine) -> None:
    stream, blocks = make(engine)
    for _ in range(2):
        assert torch.equal(run(stream, blocks), expected())
        stream.release()
    assert len(engine.allocated) == 4
    assert stream.device_bytes == sum(engine.allocated[:2])


def test_a_cpu_streams_too() -> None:
    blocks = layers()
    stream = WeightStream([[block] for block in blocks], range(DEPTH), HostEngine())
    assert torch.equal(run(stream, blocks), expected())
