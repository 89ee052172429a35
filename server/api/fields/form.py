"""Reads a multipart form: its texts and its files. Knows no field's meaning."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.api.bodies.body_pool import BodyPool
from server.api.json_input.parsing import check_object, parse_json
from server.errors import InvalidRequest

MAX_FILES = 20  # the vendor takes 16 pictures and a mask
MAX_FIELDS = 200
MAX_TEXT_PART = 16 * 2**20  # bytes: each is decoded in one call, which holds up every other client
_CHUNK = 65_536  # bytes; the event loop is free after each


@dataclass(frozen=True, slots=True)
class Form:
    """A form's texts, as JSON would have them, and the bytes of its files by their field."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[bytes]] = field(default_factory=dict)


async def read_form(headers: Headers, body: bytes | bytearray, pool: BodyPool) -> Form:
    """The form in a body. A name that ends in brackets is a list. Raises `InvalidRequest` or `TaskRejected`.

    A text that is a JSON list or object is read as one. A form has no other way to send it. The pool reads long texts.
    """
    data = await parse_form(headers, body, max_files=MAX_FILES, max_fields=MAX_FIELDS)
    form = Form()
    for sent_name, value in data.multi_items():
        name = sent_name.removesuffix("[]")
        if isinstance(value, UploadFile):
            form.files.setdefault(name, []).append(await value.read())
            await value.close()
            continue
        found = await pool.run(len(value), _value, value)
        if sent_name.endswith("[]") or name in form.fields:
            known = form.fields.get(name, [])
            form.fields[name] = [*(known if isinstance(known, list) else [known]), found]
        else:
            form.fields[name] = found
    await pool.run(len(body), check_object, form.fields)
    return form


async def parse_form(headers: Headers, body: bytes | bytearray, *, max_files: int, max_fields: int) -> FormData:
    """The parts of the form in a body, as they were sent. Raises `InvalidRequest`."""
    parser = MultiPartParser(
        headers, _chunks(body), max_files=max_files, max_fields=max_fields, max_part_size=MAX_TEXT_PART
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise InvalidRequest(f"The form cannot be read: {error.message}") from error
    except (KeyError, UnicodeDecodeError, LookupError) as error:  # no boundary, or a text in another encoding
        raise InvalidRequest("The form cannot be read: its boundary or its text is damaged.") from error


async def _chunks(body: bytes | bytearray) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), _CHUNK):
        yield bytes(body[start : start + _CHUNK])
        await asyncio.sleep(0)


def _value(text: str) -> Any:
    if text[:1] in ("[", "{"):
        try:
            return parse_json(text)
        except InvalidRequest:
            return text
    return text
