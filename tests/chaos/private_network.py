"""Fetches URLs in a network of its own, in which every private address answers, and prints which were reached.

    unshare --user --map-root-user --net python -m tests.chaos.private_network

Prints a JSON object: the number of tries, and the addresses that got a connection of each fetcher.
"""

import asyncio
import contextlib
import ipaddress
import json
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

from server.errors import MediaError
from server.media.fetching.fetch import Fetcher
from server.media.fetching.resolver import Resolver

PUBLIC = "93.184.216.34"
PRIVATE_V4 = (
    "127.0.0.1 10.1.2.3 172.16.0.1 172.31.255.254 192.168.1.1 169.254.169.254 100.64.0.1 100.100.100.200 192.0.0.192 "
    "168.63.129.16 198.18.0.1"
).split()
PRIVATE_V6 = "::1 fd00:ec2::254 fc00::1 fec0::1 2001:db8::1".split()
PORT = 80
_REBINDING = "rebinding-"  # begins the names whose address changes
TIMEOUT = 2.0

reached: list[str] = []


def main() -> None:
    """Set the network up, and try every URL."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, *PRIVATE_V4, *PRIVATE_V6):  # a kernel without IPv6 has the others
        subprocess.run(["ip", "addr", "add", address, "dev", "lo"], check=False, capture_output=True)
    json.dump(asyncio.run(_try_all()), sys.stdout)


def spellings(address: str) -> Iterator[str]:
    """The hosts of URLs by which an IPv4 address can be meant."""
    number, parts = int(ipaddress.IPv4Address(address)), address.split(".")
    yield address
    yield f"{address}."
    yield str(number)
    yield hex(number)
    yield ".".join(f"{int(part):#o}".replace("o", "") for part in parts)
    yield f"{parts[0]}.{number & 0xFFFFFF}"
    yield f"[::ffff:{address}]"
    yield f"[::{address}]"
    yield f"[64:ff9b::{address}]"
    yield f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::]"


async def _try_all() -> dict[str, object]:
    await asyncio.start_server(_answer, "0.0.0.0", PORT)
    with contextlib.suppress(OSError):  # a kernel without IPv6
        await asyncio.start_server(_answer, "::", PORT)
    hosts = [host for address in PRIVATE_V4 for host in spellings(address)] + [f"[{each}]" for each in PRIVATE_V6]
    urls = [f"http://{host}/" for host in hosts]
    redirects = [f"http://{PUBLIC}/?to={quote(url)}" for url in urls]
    rebinding = [f"http://{_REBINDING}{number}.example/" for number in range(len(PRIVATE_V4))]
    found: dict[str, object] = {"tries": len(urls) + len(redirects) + len(rebinding)}
    for name, allowed in (("refusing", False), ("allowing", True)):
        fetcher = Fetcher(allowed, TIMEOUT, 1000, resolve=_Rebinding())
        reached.clear()
        for url in (f"http://{PUBLIC}/", *urls, *redirects, *rebinding):
            with contextlib.suppress(MediaError):
                await fetcher.fetch(url)
        await fetcher.aclose()
        found[name] = sorted(set(reached))
    return found


class _Rebinding:
    """A name server whose second answer about a name is a private address."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._asked: set[str] = set()

    async def __call__(self, host: str, port: int) -> list[str]:
        if not host.startswith(_REBINDING):
            return await self._resolver.resolve(host, port)
        again = host in self._asked
        self._asked.add(host)
        return [PRIVATE_V4[int(host.removeprefix(_REBINDING).partition(".")[0])] if again else PUBLIC]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request, with a redirect if it asks for one."""
    reached.append(writer.get_extra_info("sockname")[0])
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        query = parse_qs(urlsplit(head.split()[1].decode()).query)
        if target := query.get("to"):
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target[0]}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
