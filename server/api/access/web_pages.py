"""Refuses what a foreign web page makes a browser send: to a rebound name, as a plain form, or over a WebSocket.

Programs send no `Origin` header and are not affected. Knows no dialect.
"""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from server.errors import ApiError, HostNotAllowed, OriginNotAllowed, UnsupportedContentType

ANY = "*"


@dataclass(frozen=True, slots=True)
class WebPagePolicy:
    """The names that reach the server, and the origins whose pages may use it.

    `hosts` has names without a port; None accepts every name. `origins` may be `*`. `json_only` refuses other content
    types of a foreign page, because a browser sends those without asking the server first.
    """

    hosts: frozenset[str] | None
    origins: frozenset[str]
    json_only: bool

    def accepts_host(self, header: str | None) -> bool:
        """Whether a `Host` header names this server.

        DNS rebinding needs a name, so each IP address is accepted. Browsers resolve `localhost` themselves.
        """
        if self.hosts is None or header is None:
            return True
        name = _host_name(header)
        return name in self.hosts or name == "localhost" or name.endswith(".localhost") or _is_ip_address(name)

    def accepts_origin(self, headers: Headers) -> bool:
        """Whether a request comes from a program, from a page of this server, or from an allowed page."""
        origin = headers.get("origin", "").lower()
        if not origin or ANY in self.origins or origin in self.origins:
            return True
        return origin.partition("://")[2] == headers.get("host", "").lower()

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request or a WebSocket is refused. None if it may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host")
        if not self.accepts_host(host):
            name = _host_name(host or "")
            return HostNotAllowed(f"The server is not known as '{name}'. Name it with --allowed-hosts or --public-url.")
        if self.accepts_origin(headers):
            return None
        if scope["type"] == "websocket":
            return OriginNotAllowed("Pages of this origin may not connect. Name it with --cors-origins.")
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.json_only and scope["method"] == "POST" and content_type != "application/json":
            return UnsupportedContentType("A page of another origin must send Content-Type: application/json.")
        return None


def make_policy(
    *,
    bind_host: str,
    public_url: str | None,
    allowed_hosts: tuple[str, ...],
    cors_origins: tuple[str, ...],
    has_keys: bool,
) -> WebPagePolicy:
    """The policy of a server. With API keys every host is accepted unless a list is given: a page has no key."""
    public = urlsplit(public_url or "")
    machine = socket.gethostname().partition(".")[0]
    names = {bind_host, machine, f"{machine}.local", public.hostname or "", *allowed_hosts}
    any_host = ANY in allowed_hosts or (has_keys and not allowed_hosts)
    own = {f"{public.scheme}://{public.netloc}"} if public_url is not None else set()
    return WebPagePolicy(
        hosts=None if any_host else frozenset(name.lower() for name in names if name),
        origins=frozenset(origin.lower() for origin in {*cors_origins, *own}),
        json_only=not has_keys,
    )


def _host_name(header: str) -> str:
    """The name in a `Host` header, in lower case, without port, brackets and final dot."""
    name = header.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
