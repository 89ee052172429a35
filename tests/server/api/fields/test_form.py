from collections.abc import Mapping

import httpx2
import pytest
from starlette.datastructures import Headers

from server.api.bodies.body_pool import BodyPool
from server.api.fields import form
from server.api.fields.form import MAX_FIELDS, MAX_FILES, Form, read_form
from server.errors import InvalidRequest, TaskRejected

POOL = BodyPool()


def sent(parts: list[tuple[str, str | bytes]]) -> tuple[Headers, bytes]:
    """A form as a client encodes it. Bytes are files."""
    files = [(name, (None, value) if isinstance(value, str) else ("upload", value)) for name, value in parts]
    request = httpx2.Request("POST", "http://box", files=files)
    return Headers(dict(request.headers)), request.read()


async def read(*parts: tuple[str, str | bytes]) -> Form:
    return await read_form(*sent(list(parts)), POOL)


async def test_texts_and_files() -> None:
    form = await read(("prompt", "ein Fuß"), ("image", b"\x89PNG"), ("n", "2"))
    assert form == Form({"prompt": "ein Fuß", "n": "2"}, {"image": [b"\x89PNG"]})


async def test_lists_in_each_spelling() -> None:
    form = await read(("url[]", "a"), ("loras", "a"), ("loras", "b"), ("image", b"1"), ("image[]", b"2"))
    assert form == Form({"url": ["a"], "loras": ["a", "b"]}, {"image": [b"1", b"2"]})


async def test_json_in_a_text() -> None:
    form = await read(("loras", '[{"path": "a"}]'), ("cache", '{"type": "fbcache"}'), ("prompt", "[half"))
    assert form.fields == {"loras": [{"path": "a"}], "cache": {"type": "fbcache"}, "prompt": "[half"}


async def test_a_file_of_several_chunks() -> None:
    data = bytes(range(256)) * 1000
    assert (await read(("image", data))).files == {"image": [data]}


@pytest.mark.parametrize(
    "parts", [[("image", b"a")] * (MAX_FILES + 1), [(f"a{number}", "b") for number in range(MAX_FIELDS + 1)]]
)
async def test_too_many_parts(parts: list[tuple[str, str | bytes]]) -> None:
    with pytest.raises(InvalidRequest, match="Too many"):
        await read(*parts)


async def test_a_text_that_is_too_long() -> None:
    with pytest.raises(TaskRejected, match="'prompt'"):
        await read(("prompt", "a" * 65_537))


HEADS: list[Mapping[str, str]] = [
    {"content-type": "multipart/form-data"},
    {"content-type": "multipart/form-data; boundary=x"},
    {"content-type": "multipart/form-data; charset=none; boundary=x"},
]


@pytest.mark.parametrize("headers", HEADS)
async def test_a_damaged_form(headers: Mapping[str, str]) -> None:
    for body in (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", b"\xff" * 99, b"--y\r\n\r\n"):
        with pytest.raises(InvalidRequest, match="The form cannot be read"):
            await read_form(Headers(headers), body, POOL)


async def test_a_text_of_a_form_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_TEXT_PART", 10)
    headers = Headers({"content-type": "multipart/form-data; boundary=B"})
    head = b'--B\r\nContent-Disposition: form-data; name="a"'
    with pytest.raises(InvalidRequest, match="exceeded maximum size"):
        await read_form(headers, head + b"\r\n\r\n" + b"b" * 11 + b"\r\n--B--\r\n", POOL)
    file = await read_form(headers, head + b'; filename="c"\r\n\r\n' + b"b" * 11 + b"\r\n--B--\r\n", POOL)
    assert file.files == {"a": [b"b" * 11]}
