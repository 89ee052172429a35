"""Reads the one file of a multipart form. Knows no picture."""

from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.errors import InvalidRequest, MissingParameter

FIELD = "file"
MAX_PARTS = 10  # clients send one file and no text


async def read_file(headers: Headers, body: bytes) -> tuple[str, bytes]:
    """The name and the bytes of the file. Raises `InvalidRequest` or `MissingParameter`."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        headers, stream(), max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=max(1, len(body))
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, LookupError, UnicodeDecodeError) as error:
        raise InvalidRequest("The body is no multipart form.") from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise MissingParameter(FIELD, "The form has no file named 'file'.")
        return file.filename or "upload", await file.read()
    finally:
        await form.close()
