"""Reads the body of a request, no further than the limit. Shared by all dialects.

A sender without an accepted key in a header gets a small limit, so that strangers cost little.
"""

from starlette.requests import Request

from server.api.access.auth import ApiKeys, bearer_key
from server.errors import Unauthorized, ValueTooLarge

STRANGER_LIMIT = 65_536  # bytes of a body, or of a frame, whose sender has shown no accepted key


async def read_body(request: Request, max_bytes: int) -> bytearray:
    """The whole body. Raises `ValueTooLarge`, before reading where the client announces its size.

    It grows as it comes. To join its pieces at the end would take the memory twice, and hold up all other requests.
    """
    error = ValueTooLarge(f"The request body is larger than {max_bytes} bytes.")
    if (size := _announced_size(request)) is not None and size > max_bytes:
        raise error
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > max_bytes:
            raise error
        body += chunk
    return body


async def read_body_for_key(request: Request, keys: ApiKeys, max_bytes: int) -> bytearray:
    """The whole body. Without an accepted key in the header it must be small, because it may hold the key itself.

    Raises `Unauthorized` for a large one, before reading it, and `ValueTooLarge`.
    """
    size = _announced_size(request)
    small = size is not None and size <= STRANGER_LIMIT  # its key is checked once the whole of it is there
    refused = None if small else stranger(keys, bearer_key(request.headers))
    if refused is None:
        return await read_body(request, max_bytes)
    try:
        return await read_body(request, STRANGER_LIMIT)
    except ValueTooLarge:
        raise refused from None


def _announced_size(request: Request) -> int | None:
    """The bytes of the body as the client announces them. The connection takes no more."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


def stranger(keys: ApiKeys, key: str | None) -> Unauthorized | None:
    """The refusal of a large message whose sender has shown this key so far. None if the key is accepted."""
    try:
        keys.owner(key)
    except Unauthorized as error:
        hint = f"More than {STRANGER_LIMIT} bytes are read after authentication only: send the key in the header "
        return Unauthorized(f"{error.message} {hint}'Authorization: Bearer'.", code=error.code, path=error.path)
    return None
