"""Sends one request to a receiver, and says in words why it did not arrive.

Follows no redirect and reads no body of a response. Knows no outbox and no job.
"""

import asyncio
from collections.abc import Mapping

import httpx2

from server.media.fetching.checked_transport import CheckedTransport, HostNotFound, PrivateAddress
from server.media.fetching.web_address import WebAddressError, parse_web_address

# Of a check before a task is accepted. A name that cannot be found in time is tried again when something is sent.
CHECK_SECONDS = 2.0
PRIVATE = "leads to a private address, which this server does not send to"


class DeliveryFailed(Exception):
    """A try failed. `status` is the receiver's, None without an answer. A `final` failure is not tried again."""

    def __init__(self, reason: str, *, status: int | None = None, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.final = final


class Sender:
    """Requests to receivers that strangers chose."""

    def __init__(self, transport: CheckedTransport) -> None:
        self._transport = transport

    async def refusal(self, url: str) -> str | None:
        """Why nothing is ever sent to a URL, as the end of a sentence that begins "The URL". None if it may be."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._transport.addresses(parse_web_address(url))
        except WebAddressError as error:
            return str(error)
        except PrivateAddress:
            return PRIVATE
        except (HostNotFound, TimeoutError):  # it may be found when something is sent
            return None
        return None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> None:
        """Send a request within that many seconds. Raises `DeliveryFailed` unless the answer is 2xx."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.send(method, parse_web_address(url), headers, body)
                await response.aclose()
        except TimeoutError as error:
            raise DeliveryFailed(f"The receiver did not answer within {seconds:g} seconds.") from error
        except WebAddressError as error:
            raise DeliveryFailed(f"The URL {error}.", final=True) from error
        except PrivateAddress as error:
            raise DeliveryFailed(f"The URL {PRIVATE}.", final=True) from error
        except HostNotFound as error:
            raise DeliveryFailed(f"The receiver's host '{error}' cannot be found.") from error
        except httpx2.ConnectError as error:
            raise DeliveryFailed("The receiver could not be reached.") from error
        except httpx2.TransportError as error:
            raise DeliveryFailed("The receiver broke off or did not answer in proper HTTP.") from error
        status = response.status_code
        if response.has_redirect_location:
            message = f"The receiver redirects with status {status}, which is not followed."
            raise DeliveryFailed(message, status=status)
        if not response.is_success:
            raise DeliveryFailed(f"The receiver answered with status {status}.", status=status)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()
