"""How the models of a device are kept, as the user has set it.

Plain values, which travel to the worker processes. Imports no torch.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.host_memory import free_host_memory


@dataclass(frozen=True, slots=True)
class PromptFolder:
    """Where prompt encodings are kept, and the most bytes of them."""

    path: Path
    budget: int


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """`plan` is what the plan of each model may use. `prompts` keeps encodings for the next start; None keeps none.

    `streamed_blocks` and `tables` replace what the plan of a model says; None leaves it. `compiled` is where the
    compiler keeps its files; None compiles nothing. Only a GPU compiles. `relaxed` lets compiled blocks round less
    often, and `fused_heads` gives them a kernel of their own for queries and keys. `attention` is a kernel, or `auto`
    for the fastest by measurement. `warm_words` are the lengths of prompts whose attention is planned at the load.
    `batched_cfg` runs both branches of guidance as one batch; `branch_gains` is the file of what was
    measured about them, and does so where it gains. `graphs` replays captured graphs on a GPU where they gain.
    """

    plan: PlanOptions = field(default_factory=PlanOptions)
    prompts: PromptFolder | None = None
    streamed_blocks: int | None = None
    tables: bool | None = None
    compiled: Path | None = None
    relaxed: bool = False
    fused_heads: bool = False
    attention: str = "auto"
    warm_words: tuple[int, ...] = ()
    batched_cfg: bool = False
    branch_gains: Path | None = None
    graphs: bool = False

    def adjust(self, plan: WeightsPlan) -> WeightsPlan:
        """The plan with what the user has set."""
        if self.streamed_blocks is not None:
            plan = replace(plan, transformer=replace(plan.transformer, streamed_blocks=self.streamed_blocks))
        return plan if self.tables is None else replace(plan, tables=self.tables)

    def shared_by(self, workers: int) -> "ModelOptions":
        """The options of each of several workers, which share the host memory."""
        if workers == 1:
            return self
        host = (self.plan.host_memory or free_host_memory()) // workers
        return replace(self, plan=replace(self.plan, host_memory=host))


DEFAULT_OPTIONS = ModelOptions()
