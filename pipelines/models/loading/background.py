"""Compiles the blocks of a model in a thread, while requests run without them. Knows checkpoints; knows no model.

A request keeps the checkpoint that it began with, so its steps all run alike.
"""

import contextvars
import threading
from collections.abc import Callable

from pipelines.models.checkpoint import Checkpoint


class BackgroundCompilation:
    """One compilation that has begun. Nothing may move the weights of its checkpoint until it has ended."""

    def __init__(self, compile_checkpoint: Callable[[], Checkpoint]) -> None:
        self._compile = compile_checkpoint
        self._compiled: Checkpoint | None = None
        # The compiler's settings belong to the context of a thread.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="compile", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether `result` returns at once."""
        return not self._thread.is_alive()

    def result(self) -> Checkpoint | None:
        """The checkpoint with what came out, after waiting for it. None where the compilation raised an error."""
        self._thread.join()
        return self._compiled

    def _run(self) -> None:
        self._compiled = self._compile()
