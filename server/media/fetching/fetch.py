"""Fetches files from URLs that strangers chose, and reaches no private network for them.

`CheckedTransport` checks each address. Each redirect is checked like a first URL. Failures are `MediaError`s, which
name no resolved address and repeat no URL.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx2

from server.errors import MediaError
from server.media.fetching.checked_transport import CheckedTransport, HostNotFound, PrivateAddress, Resolve
from server.media.fetching.web_address import WebAddressError, join_web_address, parse_web_address

MAX_REDIRECTS = 3
CHUNK_BYTES = 1 << 20

T = TypeVar("T")


class Fetcher:
    """An HTTP client for strangers' URLs. Times are in seconds, sizes in bytes. Messages call the file a `noun`."""

    def __init__(
        self,
        allow_private: bool,
        timeout: float,
        max_bytes: int,
        *,
        noun: str = "image",
        accept: str = "image/*",
        resolve: Resolve | None = None,
    ) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._noun = noun
        self._accept = accept
        self._transport = CheckedTransport(allow_private, resolve)

    async def fetch(self, url: str) -> bytes:
        """The body behind a URL. Raises `MediaError`."""

        async def join(response: httpx2.Response) -> bytes:
            chunks = [chunk async for chunk in self._chunks(response)]
            return await asyncio.to_thread(b"".join, chunks)  # 100 MB would hold up the event loop

        return await self._fetch(url, join)

    async def download(self, url: str, path: Path) -> None:
        """Write the body behind a URL into a file, in chunks. Raises `MediaError`, and may leave a part then."""

        async def write(response: httpx2.Response) -> None:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in self._chunks(response):
                    await asyncio.to_thread(file.write, chunk)

        await self._fetch(url, write)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def _fetch(self, url: str, read: Callable[[httpx2.Response], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(self._parse(url), read)
        except TimeoutError as error:
            raise MediaError(f"The {self._noun}'s server did not answer within {self._timeout:g} seconds.") from error
        except httpx2.ConnectError as error:
            raise MediaError(f"The {self._noun}'s server could not be reached.") from error
        except httpx2.TransportError as error:
            message = f"The {self._noun}'s server broke off or did not answer in proper HTTP."
            raise MediaError(message) from error

    async def _follow(self, url: httpx2.URL, read: Callable[[httpx2.Response], Awaitable[T]]) -> T:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(url)
            try:
                if not response.has_redirect_location:
                    return await read(response)
                url = self._join(url, response.headers["Location"])
            finally:
                await response.aclose()  # a redirect's body is never read
        raise MediaError(f"The {self._noun}'s URL redirects more than {MAX_REDIRECTS} times.")

    def _parse(self, text: str) -> httpx2.URL:
        try:
            return parse_web_address(text)
        except WebAddressError as error:
            raise MediaError(f"The {self._noun}'s URL {error}.") from error

    def _join(self, url: httpx2.URL, location: str) -> httpx2.URL:
        try:
            return join_web_address(url, location)
        except WebAddressError as error:
            raise MediaError(f"The {self._noun}'s URL leads to an address that {error}.") from error

    async def _get(self, url: httpx2.URL) -> httpx2.Response:
        # Images are compressed already, and an unpacked body has no bound.
        headers = {"Accept": self._accept, "Accept-Encoding": "identity"}
        try:
            return await self._transport.send("GET", url, headers)
        except HostNotFound as error:
            raise MediaError(f"The {self._noun}'s host '{error}' cannot be found.") from error
        except PrivateAddress as error:
            message = f"The {self._noun}'s URL leads to a private address, which this server does not fetch from."
            raise MediaError(message) from error

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        if not response.is_success:
            raise MediaError(f"The {self._noun}'s server answered with status {response.status_code}.")
        too_large = MediaError(f"The {self._noun} is larger than {self._max_bytes / 1e6:g} MB.")
        if int(response.headers.get("Content-Length", 0)) > self._max_bytes:
            raise too_large
        size = 0
        async for chunk in response.aiter_raw(CHUNK_BYTES):
            size += len(chunk)
            if size > self._max_bytes:
                raise too_large
            yield chunk
