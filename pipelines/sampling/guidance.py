"""True classifier-free guidance of Qwen-Image. Knows arithmetic only."""

import torch


def apply_cfg(cond: torch.Tensor, uncond: torch.Tensor, true_cfg_scale: float) -> torch.Tensor:
    """Move the prediction away from the negative prompt and restore the norm of each token.

    All tensors are [B, tokens, channels]. Restoring the norm makes high scales saturate instead of burn (diffusers,
    pipeline_qwenimage.py).
    """
    combined = uncond + true_cfg_scale * (cond - uncond)
    cond_norm = torch.norm(cond, dim=-1, keepdim=True)
    combined_norm = torch.norm(combined, dim=-1, keepdim=True)
    return combined * (cond_norm / combined_norm)
