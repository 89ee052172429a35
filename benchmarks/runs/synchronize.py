"""Waits for a device, so that a clock tells the time of the work and not of its queueing. Knows no figure."""

import torch


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queue. A CPU has none."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
