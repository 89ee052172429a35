"""The modulation of one render, from tables that are kept for the next one.

A table belongs to a list of timesteps and to the LoRAs that change the modulation. Other LoRAs share it.
"""

from collections.abc import Hashable, Sequence

import torch

from accel.weights.modulation_tables import ModulationTable, StepModulation, make_table
from accel.weights.streaming import WeightStream
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.memory import ByteBudgetCache


class RenderModulation:
    """Looks up the modulation at a timestep. The LoRAs of the render are applied while it is asked."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        stream: WeightStream,
        memory: ByteBudgetCache,
        timesteps: Sequence[torch.Tensor],
        loras: Hashable,
    ) -> None:
        """`timesteps` [1] are those that are expected. `loras` identifies what changes the modulation, with its weight.

        The table is made at the first lookup, with all expected timesteps.
        """
        self._checkpoint, self._stream, self._memory = checkpoint, stream, memory
        self._timesteps, self._loras = timesteps, loras
        self._table: ModulationTable | None = None

    def at(self, timestep: torch.Tensor) -> StepModulation:
        """The modulation of all blocks at a timestep [1], on its device. Waits for the timestep."""
        value = float(timestep)
        if self._table is None:
            self._table = self._cached(self._timesteps)
        step = self._table.steps.get(value)
        if step is None:
            step = self._cached([timestep]).steps[value]
        return step.to(timestep.device)

    def _cached(self, timesteps: Sequence[torch.Tensor]) -> ModulationTable:
        values = frozenset(torch.cat(list(timesteps)).tolist())
        transformer = self._checkpoint.transformer
        return self._memory.get(
            "modulation", (self._loras, values), lambda: make_table(transformer, timesteps, self._stream)
        )
