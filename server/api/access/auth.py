"""Who may use the server: the accepted API keys, and the owner of each.

Shared by all dialects: every way by which a key reaches the server ends in `ApiKeys.owner`. Knows headers; each dialect
knows where else a client may put its key.
"""

import hashlib
import hmac
import time

from starlette.datastructures import Headers

from server.errors import Unauthorized
from server.keys.api_key import NO_LIMITS, ApiKey, KeyLimits
from server.keys.key_table import KeyTable


class ApiKeys:
    """The accepted API keys: those of the settings, and those of the table, which may change at any time.

    Without any, every key is accepted, and all clients share their tasks.
    """

    def __init__(self, accepted: tuple[str, ...], table: KeyTable | None = None) -> None:
        # A variable that is no UTF-8 is read as halves of characters; such a key just never matches.
        self._accepted = tuple(key.encode(errors="surrogateescape") for key in accepted)
        self._table = table

    @property
    def required(self) -> bool:
        """Whether a client needs a key."""
        return bool(self._accepted) or (self._table is not None and self._table.any())

    def owner(self, key: str | None) -> str:
        """A short name for the owner of a key's tasks and images. Raises `Unauthorized`."""
        if not self.required:
            return ""
        if not key:
            raise Unauthorized("Missing API key.", code="missingApiKey", path="api_key")
        encoded = key.encode(errors="surrogatepass")  # JSON can spell half of a character too
        matches = [hmac.compare_digest(encoded, accepted) for accepted in self._accepted]
        if any(matches):
            return hashlib.sha256(encoded).hexdigest()[:16]
        found = None if self._table is None else self._table.find(encoded)
        if found is None:
            raise Unauthorized("Invalid API key.", path="api_key")
        if refusal := found.refusal(time.time()):
            raise Unauthorized(refusal, path="api_key")
        return found.owner

    def stored(self, owner: str) -> ApiKey | None:
        """The key of an owner as the table has it. None for a key of the settings."""
        return None if self._table is None else self._table.of_owner(owner)

    def limits(self, owner: str) -> KeyLimits:
        """What an owner may use. A key of the settings has no limits of its own."""
        key = self.stored(owner)
        return NO_LIMITS if key is None else key.limits

    def close(self) -> None:
        """Close the table."""
        if self._table is not None:
            self._table.close()


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
