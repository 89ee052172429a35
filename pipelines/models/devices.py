"""Devices: the precision they calculate in, their names, and memory given back to them.

Knows torch; knows no models.
"""

import gc

import torch


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is fast; CPUs gain nothing from it at small widths, and lose precision."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def device_name(device: str) -> str:
    """A device in words."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(kind)})"
    return f"{device} ({torch.get_num_threads()} threads)"


def free_memory() -> None:
    """Give back what a dropped model held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
