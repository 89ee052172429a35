"""Callbacks: which addresses are accepted, and the body of a call. `server.delivery` sends it and tries again."""

import json

import httpx2

from server.api.dialect import Notice
from server.api.evolink.dialect import EvoLinkDialect
from server.delivery.targets import Post
from server.errors import InvalidParameter
from server.media.checked_transport import CheckedTransport, HostNotFound, PrivateAddress
from server.media.web_address import WebAddressError, parse_web_address

FIELD = "callback_url"


class CallbackCheck:
    """Checks a callback when its task is sent. With `allow_private` it may be private, and may be http."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._transport = CheckedTransport(allow_private)

    async def check(self, url: str) -> str:
        """The accepted URL. Raises `InvalidParameter`. The address is checked again when it is called."""
        try:
            address = parse_web_address(url)
        except WebAddressError as error:
            raise _refused(f"The URL {error}.") from error
        if address.scheme != "https" and not self._allow_private:
            raise _refused("Only https is called.")
        await self._check_host(address)
        return url

    async def close(self) -> None:
        """Close the connections; none was made."""
        await self._transport.aclose()

    async def _check_host(self, address: httpx2.URL) -> None:
        try:
            await self._transport.addresses(address)
        except PrivateAddress as error:
            raise _refused("Private and loopback addresses are not called.") from error
        except HostNotFound as error:
            raise _refused("Its host has no address.") from error


class EvoLinkWebhooks:
    """See `server.api.dialect.WebhookWriter`. The vendor documents no signature."""

    def __init__(self, dialect: EvoLinkDialect) -> None:
        self._dialect = dialect

    async def write(self, notice: Notice) -> Post:
        """The task as a query would answer it."""
        body = json.dumps(self._dialect.task(notice.job, notice.webhook.base_url))
        return Post(body.encode(), {"Content-Type": "application/json"})


def _refused(reason: str) -> InvalidParameter:
    return InvalidParameter(FIELD, f"Invalid value for '{FIELD}' parameter. {reason}")
