"""Signatures of webhooks: HMAC-SHA256 over the id, the time and the body, joined by dots.

Pure. Knows no job and no request.
"""

import base64
import hashlib
import hmac

SECRET_PREFIX = "whsec_"


def digest(key: bytes, message_id: str, timestamp: int, body: bytes) -> bytes:
    """The HMAC of a message. `timestamp` is in whole seconds since the epoch."""
    return hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)


def secret_key(secret: str) -> bytes:
    """The key in a secret of the Standard Webhooks form: base64, with or without `whsec_`. Raises `ValueError`."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError as error:
        raise ValueError("must be base64, with or without whsec_ before it") from error
    # The specification's bounds: https://github.com/standard-webhooks/standard-webhooks
    if not 24 <= len(key) <= 64:
        raise ValueError("must have 24 to 64 bytes, encoded as base64")
    return key


def standard_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of the Standard Webhooks specification."""
    signature = base64.b64encode(digest(key, message_id, timestamp, body)).decode("ascii")
    return message_headers(message_id, timestamp) | {"webhook-signature": f"v1,{signature}"}


def message_headers(message_id: str, timestamp: int) -> dict[str, str]:
    """The two headers that name a message, signed or not."""
    return {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
