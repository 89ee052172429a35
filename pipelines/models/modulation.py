"""The modulation of one render, from tables that are kept for the next one.

A table belongs to a list of timesteps and to the LoRAs that change the modulation. Other LoRAs share it.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial
from itertools import chain

import torch

from accel.weights.modulation_tables import ModulationTable, StepModulation, make_table
from accel.weights.streaming import WeightStream
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.memory import ByteBudgetCache


class RenderModulation:
    """Looks up the modulation of each evaluation. The LoRAs of the render are applied while it is asked."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        stream: WeightStream,
        memory: ByteBudgetCache,
        timesteps: Sequence[Sequence[torch.Tensor]],
        loras: Hashable,
    ) -> None:
        """`timesteps` [1] are those that are expected in each step. Waits for them, so that no step has to.

        `loras` identifies what changes the modulation, with its weight. The table is made at the first lookup, with all
        expected timesteps.
        """
        self._checkpoint, self._stream, self._memory = checkpoint, stream, memory
        self._timesteps, self._loras = list(chain.from_iterable(timesteps)), loras
        values = iter(torch.cat(self._timesteps).tolist())
        self._values = [[next(values) for _ in step] for step in timesteps]
        self._table: ModulationTable | None = None

    def lookup(self, step: int, number: int, timestep: torch.Tensor) -> Callable[[], StepModulation]:
        """What looks up the modulation of all blocks for an evaluation of a step, counted from 0, at a timestep [1].

        The host waits for the timestep only where the step has more evaluations than expected.
        """
        values = self._values[step] if step < len(self._values) else ()
        return cache(partial(self._at, timestep, values[number] if number < len(values) else None))

    def _at(self, timestep: torch.Tensor, value: float | None) -> StepModulation:
        """The modulation at a timestep, whose `value` may be known, on its device."""
        if value is None:
            value = float(timestep)
        if self._table is None:
            self._table = self._cached(self._timesteps, frozenset(chain.from_iterable(self._values)))
        step = self._table.steps.get(value)
        if step is None:
            step = self._cached([timestep], frozenset((value,))).steps[value]
        return step.to(timestep.device)

    def _cached(self, timesteps: Sequence[torch.Tensor], values: frozenset[float]) -> ModulationTable:
        transformer = self._checkpoint.transformer
        return self._memory.get(
            "modulation", (self._loras, values), lambda: make_table(transformer, timesteps, self._stream)
        )
