"""An API key as it is kept: a name, limits and an owner, and of the secret nothing but a hash and its first letters.

Pure. Knows no database and no wire format.
"""

import hashlib
import secrets
from dataclasses import dataclass

SCHEME = "ow_"  # so that people and secret scanners recognize a key
# 256 random bits cannot be guessed, so a fast hash without salt keeps them as well as a slow one.
SECRET_BYTES = 32
PREFIX_LENGTH = len(SCHEME) + 6  # letters of a secret that are shown again
OWNER_BYTES = 8


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What the owner of a key may use.

    `weight` is its share of the devices beside other keys. `rate` is how many tasks it may send in a minute, and
    `concurrency` how many of its tasks may wait or run at a time. None is no limit.
    """

    weight: float = 1.0
    rate: int | None = None
    concurrency: int | None = None


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. Times are seconds since the epoch. `owner` stays the same when the secret changes."""

    name: str
    owner: str
    prefix: str
    limits: KeyLimits
    created: float
    expires: float | None = None
    revoked: float | None = None

    def refusal(self, now: float) -> str | None:
        """Why the key is not accepted at a time. None when it is."""
        if self.revoked is not None and self.revoked <= now:
            return "This API key has been revoked."
        if self.expires is not None and self.expires <= now:
            return "This API key has expired."
        return None

    def state(self, now: float) -> str:
        """`active`, `expired` or `revoked`."""
        if self.refusal(now) is None:
            return "active"
        return "revoked" if self.revoked is not None else "expired"


def new_secret() -> str:
    """A new secret: the text that a client sends."""
    return SCHEME + secrets.token_urlsafe(SECRET_BYTES)


def new_owner() -> str:
    """A new name for the owner of tasks and images."""
    return secrets.token_hex(OWNER_BYTES)


def hash_secret(secret: bytes) -> str:
    """The hash by which a secret is found again."""
    return hashlib.sha256(secret).hexdigest()
