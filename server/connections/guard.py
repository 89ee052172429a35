"""Counts connections in all and of each address, and refuses those over the bounds. Knows no protocol."""

import resource
import time
from collections import Counter

import structlog

log = structlog.get_logger()

MAX_CONNECTIONS = 4096
# Files that are no connections: the database, pictures, LoRAs and weights that are read, pipes of workers and decoders.
OTHER_FILES = 256
LOG_SECONDS = 10.0


def raise_file_limit(wanted: int = MAX_CONNECTIONS + OTHER_FILES) -> int:
    """Raise the soft limit of open files, at most to the hard one. Returns how many connections have room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    room = MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else soft - OTHER_FILES
    return max(2, min(MAX_CONNECTIONS, room))


class ConnectionGuard:
    """At most `total` connections, and half of them from one address, so that no address takes all."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._each = total // 2
        self._open: Counter[str] = Counter()
        self._refused = 0
        self._logged = float("-inf")

    def enter(self, address: str) -> bool:
        """Count a connection. Returns false if there is no room for it; it must then be closed."""
        if self._open.total() < self._total and self._open[address] < self._each:
            self._open[address] += 1
            return True
        self._refused += 1
        self._log(address)
        return False

    def leave(self, address: str) -> None:
        """A connection that entered has closed."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def _log(self, address: str) -> None:
        """Log at most one line in `LOG_SECONDS`."""
        if time.monotonic() - self._logged < LOG_SECONDS:
            return
        self._logged = time.monotonic()
        log.warning("connections are refused", count=self._refused, open=self._open.total(), last=address)
        self._refused = 0
