"""Runs several forwards of one transformer together: block by block, as one batch, or as ranges of blocks.

In a batch the tokens of the forwards follow each other. Products and norms see rows, so they run once for all tokens.
Attention runs for each forward alone, so no mask is needed and the lengths may differ. Knows block runners; knows no
cache and no request.
"""

from collections.abc import Sequence
from functools import partial

import torch

from accel.block_runner import BlockRunner, RunRange
from accel.rotary_embedding import JoinedRotary, Rotary


class BlockBatch:
    """Forwards at one position whose tokens run as one batch, each block once. Their ControlNets add nothing."""

    def __init__(self, runners: Sequence[BlockRunner]) -> None:
        self._runners, self._first = runners, runners[0]
        self.position = self._first.position
        self._image = _joined([runner.image for runner in runners])
        self._text = _joined([runner.text for runner in runners])
        self._rotary: Rotary = JoinedRotary(tuple(runner.rotary for runner in runners))
        indices = [runner.modulate_index for runner in runners if runner.modulate_index is not None]
        self._index = _joined(indices) if indices else None

    def run_block(self) -> None:
        """Run the next block. Its weights are on the device."""
        self._image, self._text = self._range(
            self.position, self.position + 1, self._image, self._text, *self._first.conditioning
        )
        self.position += 1

    def run_range(self, run: RunRange, end: int) -> None:
        """Run the blocks up to, but not including, block `end`, all at once."""
        layouts = tuple(runner.layout for runner in self._runners)
        key = (self.position, end, layouts, self._image.shape, self._image.dtype, self._first.weight_addresses(end))
        inputs = (self._image, self._text, *self._first.conditioning)
        function, held = partial(self._range, self.position, end), (self._rotary, self._index)
        self._image, self._text = run(key, function, inputs, held)
        self.position = end

    def split(self) -> None:
        """Give each forward its own hidden states."""
        images = self._image.split([runner.image.shape[1] for runner in self._runners], dim=1)
        texts = self._text.split([runner.text.shape[1] for runner in self._runners], dim=1)
        for runner, image, text in zip(self._runners, images, texts, strict=True):
            runner.skip_to(self.position, image, text)

    def _range(
        self, start: int, end: int, image: torch.Tensor, text: torch.Tensor, *conditioning: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for number in range(start, end):
            image, text = self._first.compute_block(number, image, text, conditioning, self._rotary, self._index)
        return image, text


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=1)


def run_together(runners: Sequence[BlockRunner], end: int) -> None:
    """Run the blocks of several forwards of one transformer up to, but not including, block `end`.

    Each block runs for all of them before the next one, so its weights are needed on the device only once.
    """
    waiting = [runner for runner in runners if runner.position < end]
    if not waiting:
        return
    weights = waiting[0].weights
    run_range = None if weights.stream is not None else weights.run_range
    batches = _batches(waiting, together=weights.batch_branches, ranged=run_range is not None)
    if batches and run_range is not None:
        for batch in batches:
            batch.run_range(run_range, end)
    else:
        groups = batches or waiting
        for number in range(min(group.position for group in groups), end):
            with waiting[0].loaded(number, end):
                for group in groups:
                    if group.position == number:
                        group.run_block()
    for batch in batches:
        batch.split()


def _batches(runners: Sequence[BlockRunner], *, together: bool, ranged: bool) -> list[BlockBatch]:
    """The batches that run instead of the forwards; none where ControlNets act between the blocks."""
    together = together and len(runners) > 1 and len({runner.position for runner in runners}) == 1
    if not (together or ranged) or any(runner.controlled for runner in runners):
        return []
    return [BlockBatch(runners)] if together else [BlockBatch([runner]) for runner in runners]
