"""Reads the one file of a multipart form. Knows no picture."""

from starlette.datastructures import Headers, UploadFile

from server.api.fields.form import parse_form
from server.errors import InvalidRequest, MissingParameter

FIELD = "file"
MAX_PARTS = 10  # clients send one file and no text


async def read_file(headers: Headers, body: bytes | bytearray) -> tuple[str, bytes]:
    """The name and the bytes of the file. Raises `InvalidRequest` or `MissingParameter`."""
    try:
        form = await parse_form(headers, body, max_files=MAX_PARTS, max_fields=MAX_PARTS)
    except InvalidRequest as error:
        raise InvalidRequest("The body is no multipart form.") from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise MissingParameter(FIELD, "The form has no file named 'file'.")
        return file.filename or "upload", await file.read()
    finally:
        await form.close()
