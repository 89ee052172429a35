import pytest
from starlette.datastructures import Headers

from server.api.wavespeed.file_form import read_file
from server.errors import InvalidRequest, MissingParameter

FORM = Headers({"content-type": "multipart/form-data; boundary=B"})


def part(disposition: str, data: bytes) -> bytes:
    return b"--B\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


async def test_the_file_of_a_form() -> None:
    body = part('name="file"; filename="a.png"', b"bytes") + b"--B--\r\n"
    assert await read_file(FORM, body) == ("a.png", b"bytes")


@pytest.mark.parametrize("disposition", ['name="other"; filename="a.png"', 'name="file"'])
async def test_a_form_without_one(disposition: str) -> None:
    with pytest.raises(MissingParameter):
        await read_file(FORM, part(disposition, b"text") + b"--B--\r\n")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (Headers({"content-type": "multipart/form-data"}), b""),
        (Headers({"content-type": "application/json"}), b"{}"),
        (Headers(), b""),
        (FORM, b"no form"),
        (FORM, part('name="file"; filename="a.png"', b"a") * 30 + b"--B--\r\n"),
    ],
)
async def test_what_is_no_form(headers: Headers, body: bytes) -> None:
    with pytest.raises((InvalidRequest, MissingParameter)):
        await read_file(headers, body)
