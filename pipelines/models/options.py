"""How the models of a device are kept, as the user has set it.

Plain values, which travel to the worker processes. Imports no torch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.models.plan import WeightsPlan


@dataclass(frozen=True, slots=True)
class PromptFolder:
    """Where prompt encodings are kept, and the most bytes of them."""

    path: Path
    budget: int


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """`prompts` keeps encodings from one start to the next; None keeps none.

    `streamed_blocks` and `tables` replace what the plan of a model says; None leaves it.
    """

    prompts: PromptFolder | None = None
    streamed_blocks: int | None = None
    tables: bool | None = None

    def adjust(self, plan: WeightsPlan) -> WeightsPlan:
        """The plan with what the user has set."""
        if self.streamed_blocks is not None:
            plan = replace(plan, transformer=replace(plan.transformer, streamed_blocks=self.streamed_blocks))
        return plan if self.tables is None else replace(plan, tables=self.tables)


DEFAULT_OPTIONS = ModelOptions()
