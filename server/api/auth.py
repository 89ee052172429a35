"""API keys: the accepted ones, and the owner of each.

Shared by all dialects. Knows headers; each dialect knows where else a client may put its key.
"""

import hashlib
import hmac

from starlette.datastructures import Headers

from server.errors import Unauthorized


class ApiKeys:
    """The accepted API keys. Without any, every key is accepted, and all clients share their tasks."""

    def __init__(self, accepted: tuple[str, ...]) -> None:
        # A variable that is no UTF-8 is read as halves of characters; such a key just never matches.
        self._accepted = tuple(key.encode(errors="surrogateescape") for key in accepted)

    def owner(self, key: str | None) -> str:
        """A short name for the owner of a key's tasks and images. Raises `Unauthorized`."""
        if not self._accepted:
            return ""
        if not key:
            raise Unauthorized("Missing API key.", code="missingApiKey", path="api_key")
        encoded = key.encode(errors="surrogatepass")  # JSON can spell half of a character too
        matches = [hmac.compare_digest(encoded, accepted) for accepted in self._accepted]
        if not any(matches):
            raise Unauthorized("Invalid API key.", path="api_key")
        return hashlib.sha256(encoded).hexdigest()[:16]


def bearer_key(headers: Headers) -> str | None:
    """The key of an `Authorization: Bearer` header."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return _key(key) if scheme.lower() == "bearer" else None


def bearer_or_bare_key(headers: Headers) -> str | None:
    """The key of an `Authorization` header with or without the word `Bearer`, as several vendors' examples send it."""
    return bearer_key(headers) or _key(headers.get("authorization", ""))


def _key(text: str) -> str | None:
    """The framework reads headers as Latin-1; keys are UTF-8."""
    return text.encode("latin-1").decode(errors="replace").strip() or None
