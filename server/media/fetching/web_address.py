"""Which texts are addresses of files on the web. Pure: resolves and connects to nothing.

Stricter than the URL library, which accepts any number as a port and most characters in a host.
"""

import re
from urllib.parse import urljoin

import httpx2

PORTS = range(1, 65536)
LONGEST = 65_536  # characters: the limit of the URL library, before anything looks at them

_AUTHORITY = re.compile(r"https?://(?P<authority>[^/?#]*)", re.IGNORECASE)
# The library checks the IPv6 address in the brackets, but lets a zone pass, which names an interface of this machine.
_HOST_AND_PORT = re.compile(r"(\[[^\[\]%]*\]|[^\[\]:]*)(:(?P<port>[0-9]{0,5}))?")
# RFC 1035 §2.3.4: labels of 63 octets, names of 253. RFC 952 has no underscore, but names in use have.
_NAME = re.compile(r"(?!.{254})([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?", re.DOTALL)


class WebAddressError(ValueError):
    """A text is no address that a file can be fetched from.

    The message is the end of a sentence that begins "The URL". It repeats nothing of the text.
    """

    def __init__(self, reason: str = "is not a valid http or https address") -> None:
        super().__init__(reason)


def parse_web_address(text: str) -> httpx2.URL:
    """The http or https URL in a text. Raises `WebAddressError`."""
    found = _AUTHORITY.match(text) if len(text) <= LONGEST else None
    if found is None:
        raise WebAddressError
    if "@" in found["authority"]:
        raise WebAddressError("contains a user name or password, which this server does not send")
    parts = _HOST_AND_PORT.fullmatch(found["authority"])
    if parts is None:
        raise WebAddressError
    if parts["port"] and int(parts["port"]) not in PORTS:
        raise WebAddressError("is not a valid http or https address: its port is not between 1 and 65535")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise WebAddressError from error
    host = url.raw_host.decode("ascii")
    if ":" not in host and not _NAME.fullmatch(host):
        raise WebAddressError
    return url


def join_web_address(base: httpx2.URL, location: str) -> httpx2.URL:
    """The URL that a redirect leads to. Raises `WebAddressError`."""
    try:
        joined = urljoin(str(base), location)
    except ValueError as error:
        raise WebAddressError from error
    return parse_web_address(joined)
