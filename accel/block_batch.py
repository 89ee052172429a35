"""Runs several forwards of one transformer together: block by block, as one batch, or as ranges of blocks.

In a batch the tokens of the forwards follow each other. Products and norms see rows, so they run once for all tokens.
Attention runs for each forward alone, so no mask is needed and the lengths may differ. Knows block runners; knows no
cache and no request.
"""

from collections.abc import Hashable, Sequence
from functools import partial

import torch

from accel.block_forward import BlockModulation
from accel.block_runner import BlockRunner, RunRange, WeightAccess
from accel.rotary_embedding import JoinedRotary, Rotary


class BlockBatch:
    """Forwards at one position whose tokens run as one batch, each block once. Their ControlNets add nothing.

    Each forward has its own timestep. Those that share the tensor of theirs share its modulation.
    """

    def __init__(self, runners: Sequence[BlockRunner]) -> None:
        self._runners, self._first = runners, runners[0]
        self.position = self._first.position
        self._image = _joined([runner.image for runner in runners])
        self._text = _joined([runner.text for runner in runners])
        self._rotary: Rotary = JoinedRotary(tuple(runner.rotary for runner in runners))
        firsts: dict[int, BlockRunner] = {}
        for runner in runners:
            firsts.setdefault(id(runner.timestep), runner)
        times = list(firsts)
        self._times = tuple(times.index(id(runner.timestep)) for runner in runners)
        self._conditioning = [tensor for first in firsts.values() for tensor in first.conditioning]
        self._index = _image_index(runners, self._times)
        self._text_index = _text_index(runners, self._times)

    def run_block(self) -> None:
        """Run the next block. Its weights are on the device."""
        self._image, self._text = self._range(
            self.position, self.position + 1, self._image, self._text, *self._conditioning
        )
        self.position += 1

    def run_range(self, run: RunRange, end: int) -> None:
        """Run the blocks up to, but not including, block `end`, all at once."""
        layouts = tuple(runner.layout for runner in self._runners)
        shape = self._image.shape, self._image.dtype
        key = (self.position, end, layouts, *shape, self._times, self._first.weight_addresses(end))
        inputs = (self._image, self._text, *self._conditioning)
        function, held = partial(self._range, self.position, end), (self._rotary, self._index, self._text_index)
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
            modulation = self._modulation(number, conditioning)
            image, text = self._first.compute_block(number, image, text, modulation, self._rotary, self._index)
        return image, text

    def _modulation(self, number: int, conditioning: Sequence[torch.Tensor]) -> BlockModulation:
        """The modulation of a block at all timesteps. Each is computed alone, so it has the bits that it has alone."""
        each = len(self._first.conditioning)
        own = [conditioning[start : start + each] for start in range(0, len(conditioning), each)]
        rows = [self._first.modulation(number, one) for one in own]
        if len(rows) == 1:
            return rows[0]
        image, text = (torch.cat(list(parts)) for parts in zip(*((row.image, row.text) for row in rows), strict=True))
        return BlockModulation(image, text, self._text_index)


def _image_index(runners: Sequence[BlockRunner], times: Sequence[int]) -> torch.Tensor | None:
    """The row of the modulation for each token of the image; None where there is only one row."""
    indices = [runner.modulate_index for runner in runners]
    if max(times) == 0:
        own = [index for index in indices if index is not None]
        return _joined(own) if own else None
    rows = 1 if indices[0] is None else 2
    return _joined(
        [
            _row(runner.image, rows * time) if index is None else index + rows * time
            for runner, index, time in zip(runners, indices, times, strict=True)
        ]
    )


def _text_index(runners: Sequence[BlockRunner], times: Sequence[int]) -> torch.Tensor | None:
    """The row of the modulation for each word; None where there is only one row."""
    if max(times) == 0:
        return None
    return _joined([_row(runner.text, time) for runner, time in zip(runners, times, strict=True)])


def _row(hidden: torch.Tensor, row: int) -> torch.Tensor:
    """One row for all of these tokens. Made on the device: a copy from the host would wait."""
    return torch.full(hidden.shape[:2], row, dtype=torch.int32, device=hidden.device)


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
    batches = _batches(waiting, weights, ranged=run_range is not None)
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


def _batches(runners: Sequence[BlockRunner], weights: WeightAccess, *, ranged: bool) -> list[BlockBatch]:
    """The batches that run instead of the forwards; none where ControlNets act between the blocks."""
    groups: dict[Hashable, list[BlockRunner]] = {}
    for number, runner in enumerate(runners):
        image = runner.image_key if weights.images_apart else None
        groups.setdefault(image if weights.batch_branches else number, []).append(runner)
    together = len(groups) < len(runners) and all(len({each.position for each in own}) == 1 for own in groups.values())
    if not (together or ranged) or any(runner.controlled for runner in runners):
        return []
    return [BlockBatch(own) for own in (groups.values() if together else ([runner] for runner in runners))]
