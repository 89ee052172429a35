"""True classifier-free guidance, as Qwen-Image does it. Arithmetic only."""

import torch


def guide(cond: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
    """Move the prediction away from the negative prompt, keeping each token's norm.

    All tensors are [B, tokens, channels]. The rescaled norm is why high scales saturate rather than burn (diffusers,
    pipeline_qwenimage.py).
    """
    combined = uncond + scale * (cond - uncond)
    cond_norm = torch.norm(cond, dim=-1, keepdim=True)
    combined_norm = torch.norm(combined, dim=-1, keepdim=True)
    return combined * (cond_norm / combined_norm)
