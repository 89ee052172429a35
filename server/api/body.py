"""Reads the body of a request, no further than the limit. Shared by all dialects."""

from starlette.requests import Request

from server.errors import ValueTooLarge


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises `ValueTooLarge`, before reading where the client announces its size."""
    error = ValueTooLarge(f"The request body is larger than {max_bytes} bytes.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise error
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise error
        chunks.append(chunk)
    return b"".join(chunks)
