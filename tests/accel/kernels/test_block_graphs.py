"""The keys, the invalidation and the memory of graphs, with a capture that repeats the function on a CPU."""

import weakref

import pytest
import torch
from structlog.testing import capture_logs

from accel.kernels.block_graphs import MOST_KEYS, MOST_TOKENS, BlockGraphs, Tensors
from tests.accel.kernels.fake_capture import FakeCapture


def double(image: torch.Tensor, text: torch.Tensor, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return 2 * image + time, 2 * text - time


def inputs_of(value: float, tokens: int = 4) -> Tensors:
    return torch.full((1, tokens, 2), value), torch.full((1, 3, 2), value + 1), torch.tensor([value])


def run(graphs: BlockGraphs, key: object, value: float, tokens: int = 4) -> None:
    """Run a key, and compare with the function itself."""
    inputs = inputs_of(value, tokens)
    found = graphs.run(key, double, inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, double(*inputs), strict=True))


def test_the_first_run_is_ordinary_the_second_is_captured_and_the_others_are_replayed() -> None:
    capture = FakeCapture()
    graphs = BlockGraphs(capture)
    for number, (captured, replays) in enumerate([(0, 0), (1, 1), (1, 2), (1, 3)]):
        run(graphs, "key", float(number))
        assert (len(capture.captured), capture.replays) == (captured, replays)
    assert (graphs.count, graphs.bytes) == (1, 100)


def test_a_result_is_not_overwritten_by_the_next_run() -> None:
    graphs = BlockGraphs(FakeCapture())
    results = [graphs.run("key", double, inputs_of(float(number))) for number in range(5)]
    for number, found in enumerate(results):
        assert all(torch.equal(a, b) for a, b in zip(found, double(*inputs_of(float(number))), strict=True))


def test_each_key_has_a_graph_of_its_own() -> None:
    capture = FakeCapture()
    graphs = BlockGraphs(capture)
    for value in (1.0, 2.0, 3.0):
        run(graphs, ("a", 4), value, 4)
        run(graphs, ("a", 6), value, 6)
    assert graphs.count == 2
    assert [captured.inputs[0].shape[1] for captured in capture.captured] == [4, 6]


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        (FakeCapture(off=1e-4), "it gives other bits"),
        (FakeCapture(replay_seconds=0.98), "it gains 2.0% of the time"),
        (FakeCapture(error="operation not permitted\nat length"), "operation not permitted"),
        (FakeCapture(bytes=2**31), "it takes 2048 MiB, more than all graphs may"),
    ],
)
def test_a_graph_without_use_is_named_once_and_never_run(capture: FakeCapture, reason: str) -> None:
    graphs = BlockGraphs(capture)
    with capture_logs() as lines:
        for value in (1.0, 2.0, 3.0, 4.0):
            run(graphs, "key", value)
    assert [(line["event"], line["reason"]) for line in lines] == [("no graph of blocks", reason)]
    assert graphs.count == graphs.bytes == 0
    assert len(capture.captured) <= 1


def test_large_images_are_not_tried() -> None:
    capture = FakeCapture()
    graphs = BlockGraphs(capture)
    for value in (1.0, 2.0, 3.0):
        run(graphs, "key", value, MOST_TOKENS + 1)
    assert not capture.captured


def test_the_least_recently_used_graph_leaves_and_may_come_back() -> None:
    capture = FakeCapture(bytes=100)
    graphs = BlockGraphs(capture, budget=250)
    for key in "abca":
        run(graphs, key, 1.0)
        run(graphs, key, 2.0)
    assert (graphs.count, graphs.bytes) == (2, 200)
    assert len(capture.captured) == 4  # a was captured again, in place of b
    run(graphs, "c", 3.0)
    assert len(capture.captured) == 4


def test_old_keys_are_forgotten() -> None:
    graphs = BlockGraphs(FakeCapture())
    for number in range(MOST_KEYS + 1):
        run(graphs, number, 1.0)
    run(graphs, 0, 2.0)  # its first run again
    assert graphs.count == 0
    run(graphs, MOST_KEYS, 2.0)
    assert graphs.count == 1


def test_cleared_graphs_are_captured_anew() -> None:
    capture = FakeCapture()
    graphs = BlockGraphs(capture)
    for value in (1.0, 2.0):
        run(graphs, "key", value)
    graphs.clear()
    assert graphs.bytes == 0
    for value in (3.0, 4.0):
        run(graphs, "key", value)
    assert len(capture.captured) == 2


def test_what_a_graph_reads_is_held_with_it() -> None:
    class Weights:
        """The tensors of a LoRA."""

    graphs = BlockGraphs(FakeCapture())
    held = Weights()
    alive = weakref.ref(held)
    for value in (1.0, 2.0):
        graphs.run("key", double, inputs_of(value), held)
    del held
    assert alive() is not None
    graphs.clear()
    assert alive() is None
