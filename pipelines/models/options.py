"""How the models of a device are kept, as the user has set it.

Plain values, which travel to the worker processes. Imports no torch.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PromptFolder:
    """Where prompt encodings are kept, and the most bytes of them."""

    path: Path
    budget: int


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """`prompts` keeps encodings from one start to the next; None keeps none."""

    prompts: PromptFolder | None = None


DEFAULT_OPTIONS = ModelOptions()
