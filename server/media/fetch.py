"""Fetches input images from URLs that strangers chose, without becoming their way into our network.

A host is resolved once, every address it has is checked, and the connection goes to the address that was checked. Each
redirect is checked the same way. What fails is a `MediaError` that names no internal address.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import httpx2

from server.errors import MediaError

MAX_REDIRECTS = 3

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Fetcher:
    """An HTTP client for other people's URLs. Times in seconds, sizes in bytes."""

    def __init__(self, allow_private: bool, timeout: float, max_bytes: int, *, resolve: Resolve | None = None) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._client = httpx2.AsyncClient(
            transport=_CheckedTransport(allow_private, resolve or _resolve),
            trust_env=False,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            timeout=timeout,
            headers={"User-Agent": "ownware", "Accept": "image/*"},
        )

    async def fetch(self, url: str) -> bytes:
        """The body behind a URL. Raises `MediaError`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._read(url)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise MediaError(f"The image's server did not answer within {self._timeout:g} seconds.") from error
        except httpx2.TooManyRedirects as error:
            raise MediaError(f"The image's URL redirects more than {MAX_REDIRECTS} times.") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError) as error:
            raise MediaError("The image's URL is not a valid http or https address.") from error
        except httpx2.HTTPError as error:
            raise MediaError("The image's server could not be reached.") from error

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        await self._client.aclose()

    async def _read(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            if not response.is_success:
                raise MediaError(f"The image's server answered with status {response.status_code}.")
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > self._max_bytes:
                    raise MediaError(f"The image is larger than {self._max_bytes} bytes.")
                chunks.append(chunk)
            return b"".join(chunks)


class _CheckedTransport(httpx2.AsyncBaseTransport):
    """Replaces the host of each request by an address that has been checked."""

    def __init__(self, allow_private: bool, resolve: Resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise MediaError(f"The image's host '{host}' cannot be found.") from error
        if not addresses:
            raise MediaError(f"The image's host '{host}' cannot be found.")
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise MediaError("The image's URL leads to a private address, which this server does not fetch from.")
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=addresses[0])  # the Host header keeps the name
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also when wrapped into IPv6."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv6Network("64:ff9b::/96")
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if wrapped is None and ip in nat64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            ip = wrapped
    return ip.is_global and not ip.is_multicast


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
