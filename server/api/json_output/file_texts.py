"""Strings of an answer that are files in base64. They are read when the answer is sent, a chunk at a time.

Otherwise an answer of many pictures would be in memory several times. Knows no dialect.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

_CHUNK = 3 * 2**18  # bytes of a file at once; a multiple of 3, so that the texts of chunks join


class FileText(str):
    """A string that stands for a prefix and a file's content in base64. Its own value is a mark, to be replaced."""

    __slots__ = ("mark", "path")

    path: Path
    mark: str

    def __new__(cls, path: Path, prefix: str = "") -> Self:
        """The text of a file that exists and does not change."""
        mark = secrets.token_hex(16)  # so that no text of a client is taken for it
        text = super().__new__(cls, prefix + mark)
        text.path, text.mark = path, mark
        return text


def compact_json(body: Any) -> str:
    """JSON without spaces, and with every character as itself. Reads all its files: blocks if it has any."""
    return "".join(
        part if isinstance(part, str) else base64.b64encode(part.read_bytes()).decode("ascii")
        for part in json_parts(body)
    )


async def render_json(body: Any) -> str:
    """The text of `compact_json`. Its files are read on a thread."""
    return await asyncio.to_thread(compact_json, body) if has_files(body) else compact_json(body)


def has_files(body: Any) -> bool:
    """Whether a JSON value has a `FileText` in it."""
    return next(_files(body), None) is not None


def json_size(parts: Sequence[str | Path]) -> int:
    """The bytes of `stream_json`."""
    return sum(len(part.encode()) if isinstance(part, str) else 4 * -(-part.stat().st_size // 3) for part in parts)


async def stream_json(parts: Sequence[str | Path]) -> AsyncIterator[bytes]:
    """The bytes of `compact_json`, from `json_parts`. Files are read while they are sent."""
    for part in parts:
        if isinstance(part, str):
            yield part.encode()
            continue
        with await asyncio.to_thread(part.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield base64.b64encode(chunk)


def json_parts(body: Any) -> list[str | Path]:
    """The JSON of a value without spaces, cut where a file belongs. One part if there is no file."""
    text, begin = _text(body), 0
    parts: list[str | Path] = []
    for file in _files(body):
        end = text.index(file.mark, begin)
        parts += (text[begin:end], file.path)
        begin = end + len(file.mark)
    return [*parts, text[begin:]]


def _text(body: Any) -> str:
    """The JSON of a value. The items of an object's lists are encoded one by one: each call holds up other threads."""
    if not isinstance(body, dict):
        return _encode(body)
    return "{" + ",".join(f"{_encode(name)}:{_member(value)}" for name, value in body.items()) + "}"


def _member(value: Any) -> str:
    return f"[{','.join(map(_encode, value))}]" if isinstance(value, list) else _encode(value)


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _files(value: Any) -> Iterator[FileText]:
    """The files in a JSON value, in the order of its text."""
    if isinstance(value, FileText):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _files(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _files(item)
