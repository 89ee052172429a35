"""The memory of this machine and of its graphics cards, as it is now. Imports no torch."""

import os
import subprocess
from dataclasses import dataclass

import structlog

from pipelines.models.planning.host_memory import free_host_memory
from server.machine.devices import read_cards

log = structlog.get_logger()

HOST = "host"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one memory. `name` is `host`, or the name of a card."""

    name: str
    total: int
    free: int


def read_memory() -> tuple[Memory, ...]:
    """The host's memory, then that of each card. It asks nvidia-smi, which takes a while: call it in a thread.

    The cards are left out while their driver does not answer.
    """
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    host = Memory(HOST, total, min(total, free_host_memory()))
    try:
        cards = read_cards()
    except subprocess.TimeoutExpired:
        log.warning("nvidia-smi does not answer")
        return (host,)
    return (host, *(Memory(card.name, card.memory, free) for card, free in cards))
