"""Captured graphs of ranges of blocks: which exist, when one is captured, and when one runs.

A graph repeats the kernels of a capture without the host's work for each of them. It belongs to shapes, weights, LoRAs,
and to the range of blocks, which is the decision of a step cache. The first run of a key is ordinary, so that its
kernels are loaded and planned. The second one is captured. The graph is kept if it gives the same bits in less time.
Knows keys, bytes and seconds; `cuda_capture` knows CUDA.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
import torch

log = structlog.get_logger()

Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., tuple[torch.Tensor, torch.Tensor]]

# More tokens of the image than this are not tried: 768 x 768 pixels. Others measured no gain at large sizes, for
# gigabytes of memory (unslothai/unsloth#11175).
MOST_TOKENS = 2304
# A graph that gains less than this share of the time is not worth its memory.
LEAST_GAIN = 0.03
BUDGET_BYTES = 1024 * 2**20
MOST_KEYS = 256  # that are remembered, with a graph or without


@dataclass(frozen=True, slots=True)
class Captured:
    """A captured function: `replay` writes `outputs` from what lies in `inputs`. `bytes` is the memory of all of it."""

    replay: Callable[[], None]
    inputs: Tensors
    outputs: Tensors
    bytes: int


class Capture(Protocol):
    """What captures functions on a device."""

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> Captured:
        """Capture a function. Raises `RuntimeError` where it cannot be captured, or memory is short."""
        ...

    def timed(self, function: Callable[[], Tensors]) -> tuple[Tensors, float]:
        """What a function returns, and the seconds until the device has computed it."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """A key that has run: its graph, None for none, and what the graph reads and must not be freed."""

    graph: Captured | None = None
    tried: bool = False
    held: object = None


class BlockGraphs:
    """The graphs of one model. The least recently used ones leave when their memory exceeds the budget."""

    def __init__(self, capture: Capture, budget: int = BUDGET_BYTES) -> None:
        self._capture, self._budget = capture, budget
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    @property
    def bytes(self) -> int:
        """The memory of all graphs."""
        return sum(entry.graph.bytes for entry in self._entries.values() if entry.graph is not None)

    @property
    def count(self) -> int:
        """The number of graphs."""
        return sum(entry.graph is not None for entry in self._entries.values())

    def clear(self) -> None:
        """Drop all graphs, because weights move or memory is needed."""
        self._entries.clear()

    def run(
        self, key: Hashable, function: Function, inputs: Sequence[torch.Tensor], held: object = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What a function of an image [1, tokens, width], a text and more tensors returns.

        `key` is all that its graph depends on. `held` is kept with the graph: the weights of a LoRA, for example.
        """
        if inputs[0].shape[1] > MOST_TOKENS:
            return function(*inputs)
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry()
            if len(self._entries) > MOST_KEYS:
                self._entries.popitem(last=False)
            return function(*inputs)
        self._entries.move_to_end(key)
        if not entry.tried:
            return self._try(key, function, inputs, held)
        if entry.graph is None:
            return function(*inputs)
        return _replay(entry.graph, inputs)

    def _try(
        self, key: Hashable, function: Function, inputs: Sequence[torch.Tensor], held: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Capture a graph, and keep it if it is exact and faster. Returns what the ordinary run returns."""
        expected, seconds = self._capture.timed(lambda: function(*inputs))
        graph, reason = None, ""
        try:
            graph = self._capture.capture(function, inputs)
        except RuntimeError as error:  # torch's errors of capture and of memory
            reason = str(error).partition("\n")[0]
        if graph is not None:
            reason = self._reason_against(graph, inputs, expected, seconds)
        if reason:
            log.info("no graph of blocks", reason=reason, tokens=inputs[0].shape[1])
            graph = held = None
        self._entries[key] = _Entry(graph, tried=True, held=held)
        while self.bytes > self._budget:
            self._drop_oldest()
        image, text = expected
        return image, text

    def _reason_against(
        self, graph: Captured, inputs: Sequence[torch.Tensor], expected: Tensors, seconds: float
    ) -> str:
        """Why a graph is not kept; empty where it is."""
        if graph.bytes > self._budget:
            return f"it takes {graph.bytes / 2**20:.0f} MiB, more than all graphs may"
        found, replayed = self._capture.timed(lambda: _replay(graph, inputs))
        if not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
            return "it gives other bits"
        gain = 1 - replayed / seconds
        if gain < LEAST_GAIN:
            return f"it gains {gain:.1%} of the time"
        log.info(
            "captured a graph of blocks",
            tokens=inputs[0].shape[1],
            gain=round(gain, 3),
            mib=round(graph.bytes / 2**20),
            graphs=self.count + 1,
        )
        return ""

    def _drop_oldest(self) -> None:
        key = next(key for key, entry in self._entries.items() if entry.graph is not None)
        del self._entries[key]  # it may come back


def _replay(graph: Captured, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a graph on new inputs. The outputs are copies, because the next run overwrites the graph's own."""
    for target, source in zip(graph.inputs, inputs, strict=True):
        target.copy_(source)
    graph.replay()
    image, text = (output.clone() for output in graph.outputs)
    return image, text
