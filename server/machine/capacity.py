"""What a model takes on this machine, by its plan: GPU memory, host memory and disk.

It is known before anything is downloaded or loaded. Imports no torch.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.hub.cache import hub_cache, local_folder
from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.cards import CPU, GIB, Card, Host
from pipelines.models.planning.entries import PlanOptions, plan_entry, usual_workload
from pipelines.models.planning.host_memory import free_host_memory
from pipelines.models.planning.planner import PlanError
from pipelines.models.planning.report import plan_lines
from pipelines.models.planning.workload import Workload
from server.machine.devices import find_cards

GB = 10**9
# Bytes in bfloat16 of a repository of Qwen-Image: transformer, text encoder, and VAE.
_DOWNLOAD_BYTES = 40_860_000_000 + 16_580_000_000 + 250_000_000


@dataclass(frozen=True, slots=True)
class Capacity:
    """How a model fits this machine.

    `plan` is None where nothing fits the card, and `refusal` says why. `shortages` are what the machine has too little
    of all the same. `download` is in bytes.
    """

    entry: ModelEntry
    card: Card
    host: Host
    workload: Workload
    download: int
    plan: WeightsPlan | None
    refusal: str | None = None
    shortages: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why the model may not run here, in words; None when it fits."""
        if self.refusal is not None:
            return f"{self.entry.weights}: {self.refusal}"
        return f"{self}, but {' and '.join(self.shortages)}" if self.shortages else None

    def lines(self) -> tuple[str, ...]:
        """The plan for a terminal; nothing where nothing fits."""
        if self.plan is None:
            return ()
        first, *others = plan_lines(self.plan, self.card, self.host, self.workload)
        return (f"{self.entry.name} ({self.entry.air}) {first}", *others)

    def __str__(self) -> str:
        parts = [f"{self.download / GB:.0f} GB of download"] if self.download else []
        if self.plan is not None:
            parts += [f"{self.plan.peak_bytes / GIB:.0f} GiB of GPU memory"] if self.plan.peak_bytes else []
            parts.append(f"{self.plan.host_bytes / GIB:.0f} GiB of host memory")
        return f"{self.entry.weights} takes {', '.join(parts)}"


def plan_capacity(entry: ModelEntry, devices: Sequence[str], options: PlanOptions) -> Capacity | None:
    """How a model fits the smallest card of these devices, or the CPU. None where the cards are unknown.

    Each worker loads the model of its own, so they share the host memory.
    """
    on_cpu = all(device == "cpu" for device in devices)
    cards = () if on_cpu else find_cards()
    if not (on_cpu or cards):
        return None
    card = CPU if on_cpu else options.limit(min(cards, key=lambda each: each.memory))
    host = Host((options.host_memory or free_host_memory()) // len(devices))
    download = 0 if local_folder(entry.weights, entry.files.replaced) else _DOWNLOAD_BYTES
    workload = usual_workload(entry, options)
    try:
        plan = plan_entry(entry, card, host, options)
    except PlanError as error:
        return Capacity(entry, card, host, workload, download, None, refusal=str(error))
    return Capacity(entry, card, host, workload, download, plan, shortages=tuple(_shortages(plan, host, download)))


def _shortages(plan: WeightsPlan, host: Host, download: int) -> Iterator[str]:
    if plan.host_bytes > host.memory:
        yield f"the host has {host.memory / GIB:.0f} GiB"
    if download and (free := _free_disk_bytes(hub_cache())) < download:
        yield f"the disk of {hub_cache()} has {free / GIB:.0f} GiB"


def _free_disk_bytes(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free
