"""Files that look like LoRAs, made without torch."""

import numpy as np
from safetensors.numpy import save

TO_Q = "transformer_blocks.0.attn.to_q"


def lora_bytes(module: str = TO_Q, rows: int = 1, width: int = 128) -> bytes:
    """A LoRA of one module. Of the usual width it fits the embedded checkpoint."""
    down, up = np.zeros((rows, width), np.float32), np.zeros((width, rows), np.float32)
    return save({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up})
