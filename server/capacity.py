"""What the weights of a model take, and whether this machine has it: GPU memory, host memory and disk.

A plain check before anything is downloaded or loaded. Imports no torch.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.catalog.hub.cache import hub_cache, local_folder
from server.devices import card_bytes

GB, GIB = 10**9, 2**30
_PARTS = ("transformer", "text_encoder", "vae")
# Bytes in bfloat16 of weights that are not here yet: transformer, text encoder, and VAE of Qwen-Image.
_FULL_SIZE = (40_860_000_000, 16_580_000_000, 250_000_000)
# A container's limit of memory; "max" where there is none.
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Need:
    """What one model takes, in bytes. `cards` and `host` are what it needs while it loads and renders."""

    weights: str
    download: int
    card: int
    host: int

    @classmethod
    def of(cls, weights: str, devices: Sequence[str]) -> "Need":
        """The need of weights on these devices. A worker process for each device loads all of them."""
        folder = local_folder(weights)
        sizes = _FULL_SIZE if folder is None else tuple(_part_bytes(folder / part) for part in _PARTS)
        on_cpu = sum(device == "cpu" for device in devices)
        # Each part passes through host memory on its way to a card. A CPU calculates in float32, twice the size.
        host = max(sizes) * (len(devices) - on_cpu) + 2 * sum(sizes) * on_cpu
        return cls(weights, 0 if folder else sum(sizes), sum(sizes) if on_cpu < len(devices) else 0, host)

    def __str__(self) -> str:
        parts = [f"{self.download / GB:.0f} GB of download"] if self.download else []
        parts += [f"{self.card / GIB:.0f} GiB of GPU memory"] if self.card else []
        return f"{self.weights} takes {', '.join((*parts, f'{self.host / GIB:.0f} GiB of host memory'))}"


def shortages(need: Need) -> tuple[str, ...]:
    """What this machine has too little of, in words; empty when the weights fit."""
    cards = min(card_bytes(), default=None)
    found = [
        ("the GPU", cards, need.card),
        ("the host", _host_bytes(), need.host),
        (f"the disk of {hub_cache()}", _free_disk_bytes(hub_cache()), need.download),
    ]
    return tuple(
        f"{place} has {there / GIB:.0f} GiB" for place, there, needed in found if there is not None and there < needed
    )


def _part_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _host_bytes() -> int:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return min(total, int(limit)) if limit.isdecimal() else total


def _free_disk_bytes(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free
