"""What is set around the renders of a model: the attention kernel, and the number of CPU threads.

Both hold for the whole process, so the renders of one model share them, and no two models have them at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from accel.kernels.attention import attention_kernel
from accel.kernels.threads import compute_threads
from pipelines.models.checkpoint import Checkpoint


@contextmanager
def device_setting(checkpoint: Checkpoint) -> Iterator[None]:
    """Render with this model inside the `with`, in this thread and in others that it waits for."""
    weights = sum(parameter.numel() for parameter in checkpoint.transformer.parameters())
    with compute_threads(weights, checkpoint.device), attention_kernel(checkpoint.attention.kernel):
        yield
