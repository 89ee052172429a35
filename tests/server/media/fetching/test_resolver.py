import asyncio
import socket
import threading

import pytest

from server.caller import caller_address
from server.media.fetching.resolver import LOOKUPS, LOOKUPS_OF_A_CALLER, Resolver


class SilentNames:
    """Answers at once, but for names that begin with "silent": those wait until released."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = 0

    def lookup(self, host: str, port: int) -> list[str]:
        if host.startswith("silent"):
            self.waiting += 1
            self.go.wait()
        return [f"{host}:{port}"]


@pytest.mark.parametrize("gone", [True, False])
async def test_silent_names_of_one_caller_hold_up_no_other(gone: bool) -> None:
    """Also after they were given up: their threads still wait."""
    names = SilentNames()
    resolver = Resolver(names.lookup)
    silent = [asyncio.create_task(resolver.resolve(f"silent{n}.example", 80)) for n in range(LOOKUPS + 1)]
    await asyncio.sleep(0)
    if gone:
        for task in silent:
            task.cancel()
        await asyncio.wait(silent)
    caller_address.set("192.0.2.7")
    assert await resolver.resolve("good.example", 443) == ["good.example:443"]
    assert names.waiting == LOOKUPS_OF_A_CALLER
    names.go.set()
    caller_address.set("")
    assert await resolver.resolve("good.example", 443) == ["good.example:443"]
    if not gone:
        assert len(await asyncio.gather(*silent)) == LOOKUPS + 1


@pytest.mark.parametrize("error", [socket.gaierror("unknown"), UnicodeError("label too long")])
async def test_a_name_that_is_unknown(error: Exception) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(OSError, match=r"unknown|no such host"):
        await Resolver(fail).resolve("unknown.example", 80)


async def test_the_systems_own_names() -> None:
    assert set(await Resolver().resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
