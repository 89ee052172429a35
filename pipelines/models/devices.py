"""Devices: the precision they calculate in, their names, and memory given back to them.

Knows torch; knows no models.
"""

import gc

import torch

from pipelines.errors import LoadError


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is fast; CPUs gain nothing from it at small widths, and lose precision."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def check_device(device: torch.device) -> None:
    """Raise `LoadError` when torch cannot use a CUDA device, before anything is downloaded or loaded."""
    if device.type != "cuda" or (device.index or 0) < torch.cuda.device_count():
        return
    if torch.version.cuda is None and torch.version.hip is None:
        raise LoadError(f"torch {torch.__version__} is a build for the CPU only, so it cannot use {device}.")
    count = torch.cuda.device_count()
    raise LoadError(f"torch {torch.__version__} finds {count} CUDA devices, so it cannot use {device}.")


def device_name(device: str) -> str:
    """A device in words."""
    kind = torch.device(device)
    if kind.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(kind)})"
    return f"{device} (up to {torch.get_num_threads()} threads)"


def free_memory() -> None:
    """Give back what a dropped model held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
