"""Has cuDNN plan the attention of usual prompts before the first request.

cuDNN plans each new length of the sequence once, which takes it tens of milliseconds of the host. A plan belongs to the
thread that made it, so this runs in the thread that renders. Knows checkpoints; knows no request.
"""

from collections.abc import Sequence

import structlog
import torch
from torch.nn.functional import scaled_dot_product_attention

from accel.kernels.attention import attention_kernel
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.planning.workload import Workload

log = structlog.get_logger()

_PLANNED_KERNEL = "cudnn"  # the others need no plan


@torch.inference_mode()
def build_plans(checkpoint: Checkpoint, kernel: str, workload: Workload, words: Sequence[int]) -> None:
    """Run the attention once for a render of `workload` with prompts of each of these lengths in tokens.

    Does nothing unless the kernel is cuDNN's.
    """
    if kernel != _PLANNED_KERNEL or not words:
        return
    config = checkpoint.transformer.config
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    log.info("planning the attention", device=str(checkpoint.device), lengths=len(words))
    with attention_kernel(kernel):
        for count in words:
            # A view of [1, sequence, heads, width], as the blocks have it: a plan belongs to a layout.
            shape = 1, workload.picture_tokens + count, heads, width
            query = torch.zeros(shape, device=checkpoint.device, dtype=checkpoint.dtype).transpose(1, 2)
            scaled_dot_product_attention(query, query, query)
