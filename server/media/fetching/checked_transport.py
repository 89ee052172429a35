"""Sends HTTP requests to URLs that strangers chose, and reaches no private network for them.

A host is resolved once, all its addresses are checked, and the connection goes to a checked address. Requests carry no
cookies and no credentials, and ignore proxies and netrc of the environment. TLS is verified for the name. Follows no
redirect. Knows no pictures and no webhooks.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cache

import httpx2

from server.media.fetching.ip_addresses import is_public
from server.media.fetching.resolver import Resolver

Resolve = Callable[[str, int], Awaitable[list[str]]]


class HostNotFound(Exception):
    """The name of a host has no address."""


class PrivateAddress(Exception):
    """A host has a private address, and this server sends nothing there."""


class CheckedTransport:
    """Connections to checked addresses. `resolve` gives the addresses of a host and a port."""

    def __init__(self, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or Resolver().resolve
        # The pool knows addresses only: a connection kept open for one name would serve another, whose certificate was
        # never checked.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._transport = httpx2.AsyncHTTPTransport(verify=_authorities(), trust_env=False, limits=limits)

    async def addresses(self, url: httpx2.URL) -> list[str]:
        """The checked addresses of a URL's host. Raises `HostNotFound` or `PrivateAddress`."""
        host = url.raw_host.decode("ascii")
        try:
            addresses = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except OSError as error:
            raise HostNotFound(host) from error
        if not addresses:
            raise HostNotFound(host)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise PrivateAddress
        return addresses

    async def send(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], content: bytes | None = None
    ) -> httpx2.Response:
        """Send a request, and return the response before its body is read. The caller closes it.

        Raises `HostNotFound`, `PrivateAddress` or `httpx2.TransportError`.
        """
        host = url.raw_host.decode("ascii")
        shared = {"Host": url.netloc.decode("ascii"), "User-Agent": "ownware", "Connection": "close"}
        addresses = await self.addresses(url)
        while True:
            to = url.copy_with(host=addresses.pop(0))
            named = {"sni_hostname": host}
            request = httpx2.Request(method, to, headers={**shared, **headers}, content=content, extensions=named)
            try:
                return await self._transport.handle_async_request(request)
            except httpx2.ConnectError:  # a host with several addresses may be down at one of them
                if not addresses:
                    raise

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


@cache
def _authorities() -> ssl.SSLContext:
    """The certificate authorities that are trusted. Loaded once, because that takes 20 ms."""
    return httpx2.create_ssl_context(trust_env=False)
