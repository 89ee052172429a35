"""Resolves the names of hosts that strangers chose, on threads of its own. Knows no HTTP.

A name server that never answers holds a thread for up to half a minute. A thread cannot be ended.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

from server.caller import caller_address
from server.fair_slots import FairSlots

LOOKUPS = 16  # at once
LOOKUPS_OF_A_CALLER = 4

Lookup = Callable[[str, int], list[str]]


class Resolver:
    """Resolves names, a bounded number at once, and fewer of one caller."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._lookup = lookup or _system_lookup
        self._slots = FairSlots(LOOKUPS, LOOKUPS_OF_A_CALLER)

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host. Raises `OSError`. When it is cancelled, its lookup still counts until it ends."""
        caller = caller_address.get()
        await self._slots.acquire(caller)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def settle(addresses: list[str], error: OSError | None) -> None:
            self._slots.release(caller)
            if found.done():  # given up
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(addresses)

        def work() -> None:
            addresses, failure = list[str](), None
            try:
                addresses = self._lookup(host, port)
            except OSError as error:
                failure = error
            except UnicodeError:  # a label that IDNA does not have
                failure = OSError("no such host")
            with contextlib.suppress(RuntimeError):  # the loop has closed
                loop.call_soon_threadsafe(settle, addresses, failure)

        threading.Thread(target=work, name="resolver", daemon=True).start()  # so that no lookup delays the end
        return await found


def _system_lookup(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
