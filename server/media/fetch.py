"""Fetches input images from URLs that strangers chose, without becoming their way into our network.

A host is resolved once, every address it has is checked, and the connection goes to an address that was checked. Each
redirect is treated like a first URL. Requests carry no cookies and no credentials, and nothing of the environment
(proxies, netrc) is used. What fails is a `MediaError` that names no address we resolved.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx2

from server.errors import MediaError
from server.media.addresses import is_public

MAX_REDIRECTS = 3

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Fetcher:
    """An HTTP client for other people's URLs. Times in seconds, sizes in bytes."""

    def __init__(self, allow_private: bool, timeout: float, max_bytes: int, *, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._resolve = resolve or _resolve
        # The pool knows addresses only, so a connection kept open for one name would be used for another whose
        # certificate was never checked.
        self._transport = httpx2.AsyncHTTPTransport(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))

    async def fetch(self, url: str) -> bytes:
        """The body behind a URL. Raises `MediaError`."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(httpx2.URL(url))
        except TimeoutError as error:
            raise MediaError(f"The image's server did not answer within {self._timeout:g} seconds.") from error
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise MediaError("The image's URL is not a valid http or https address.") from error
        except httpx2.ConnectError as error:
            raise MediaError("The image's server could not be reached.") from error
        except httpx2.TransportError as error:
            raise MediaError("The image's server broke off or did not answer in proper HTTP.") from error

    async def aclose(self) -> None:
        """Close what is still open."""
        await self._transport.aclose()

    async def _follow(self, url: httpx2.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(url)
            try:
                if not response.has_redirect_location:
                    return await self._read(response)
                url = url.join(response.headers["Location"])
            finally:
                await response.aclose()  # a redirect's body is never read
        raise MediaError(f"The image's URL redirects more than {MAX_REDIRECTS} times.")

    async def _get(self, url: httpx2.URL) -> httpx2.Response:
        if url.scheme not in ("http", "https") or not url.host:
            raise MediaError("The image's URL is not a valid http or https address.")
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "ownware",
            "Accept": "image/*",
            "Accept-Encoding": "identity",  # pictures are compressed already, and a body that unpacks has no bound
            "Connection": "close",
        }
        name = url.raw_host.decode("ascii")
        addresses = await self._addresses(name, url.port or (443 if url.scheme == "https" else 80))
        while True:
            to = url.copy_with(host=addresses.pop(0))
            request = httpx2.Request("GET", to, headers=headers, extensions={"sni_hostname": name})
            try:
                return await self._transport.handle_async_request(request)
            except httpx2.ConnectError:  # a host with several addresses may be down at one
                if not addresses:
                    raise

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise MediaError(f"The image's host '{host}' cannot be found.") from error
        if not addresses:
            raise MediaError(f"The image's host '{host}' cannot be found.")
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise MediaError("The image's URL leads to a private address, which this server does not fetch from.")
        return addresses

    async def _read(self, response: httpx2.Response) -> bytes:
        if not response.is_success:
            raise MediaError(f"The image's server answered with status {response.status_code}.")
        too_large = MediaError(f"The image is larger than {self._max_bytes / 1e6:g} MB.")
        if int(response.headers.get("Content-Length", 0)) > self._max_bytes:
            raise too_large
        chunks, size = [], 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._max_bytes:
                raise too_large
            chunks.append(chunk)
        return b"".join(chunks)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
