"""Devices: the precision they calculate in, their names, and memory given back to them.

Knows torch; knows no models.
"""

import gc

import torch

from pipelines.errors import LoadError
from pipelines.models.plan import Precision
from pipelines.models.planning.cards import CPU, Card, make_card


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where it is fast; CPUs gain nothing from it at small widths, and lose precision."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype that a network in some precision calculates in. Quantized layers take that of the device."""
    plain: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
    return plain.get(precision) or default_dtype(device)


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


def device_card(device: torch.device) -> Card:
    """The card of a device with the memory that is free, for a plan; `CPU` for the CPU."""
    if device.type == "cpu":
        return CPU
    free, _ = torch.cuda.mem_get_info(device)
    return make_card(torch.cuda.get_device_name(device), free, torch.cuda.get_device_capability(device))


def limit_memory(device: torch.device, size: int | None) -> None:
    """Let torch use no more than `size` bytes of a card, so that the rest is free for other programs."""
    if device.type == "cuda" and size is not None:
        _, total = torch.cuda.mem_get_info(device)
        # This function of torch takes no device without a number.
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), device.index or 0)


def free_memory() -> None:
    """Give back what a dropped model held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
