"""Takes the long strings out of a JSON text before it is parsed, and puts them back into the value.

A parser copies a string in one call, which holds up every other thread: a picture of 60 MB in base64 for a fifth of a
second. Here it is copied in pieces. Knows no schema.
"""

import secrets
from collections.abc import Iterator
from typing import Any, cast

LONG = 2**18  # characters of a string that is taken out
MAX_QUOTES = 50_000  # that are looked at. A request has thousands, a hostile one tens of millions
MAX_BACKSLASHES = 64  # in a row
_LONGEST_MARK = 40  # characters: a token in hexadecimal and a number
_PIECE = 2**20  # characters that are copied at once

Json = bytes | bytearray | str


def take_out(body: Json) -> tuple[Json, dict[str, str]]:
    """The JSON with a mark in place of each long string, and the strings by their marks.

    A string with escapes or other characters than printable ASCII stays, and so does the name of a member.
    """
    kept: list[Json] = []
    texts: dict[str, str] = {}
    if len(body) < LONG:  # nearly every request: it has no such string
        return body, texts
    token, place = secrets.token_hex(16), 0  # so that no text of a client is taken for a mark
    for begin, end in _strings(body):
        if end - begin >= LONG and not _is_name(body, end + 1) and (text := _plain(body, begin, end)) is not None:
            mark = f"{token}{len(texts)}"
            texts[mark] = text
            kept += (body[place:begin], mark if isinstance(body, str) else mark.encode())
            place = end
    if not texts:
        return body, texts
    kept.append(body[place:])
    if isinstance(body, str):
        return "".join(cast("list[str]", kept)), texts
    return b"".join(cast("list[bytes | bytearray]", kept)), texts


def put_back(value: Any, texts: dict[str, str]) -> Any:
    """A JSON value with the strings in place of their marks. Changes lists and objects."""
    todo: list[Any] = [[value]]
    whole = todo[0]
    while todo:
        outer = todo.pop()
        for key, inner in list(outer.items() if isinstance(outer, dict) else enumerate(outer)):
            if isinstance(inner, str):
                outer[key] = texts.get(inner, inner) if len(inner) <= _LONGEST_MARK else inner
            elif isinstance(inner, dict | list):
                todo.append(inner)
    return whole[0]


def _strings(body: Json) -> Iterator[tuple[int, int]]:
    """Where the content of each string begins and ends. Stops early where there is too much to look at."""
    quote: Any = '"' if isinstance(body, str) else b'"'
    begin: int | None = None
    found = -1
    for _ in range(MAX_QUOTES):
        found = body.find(quote, found + 1)
        if found < 0:
            return
        if begin is None:
            begin = found + 1
            continue
        escapes = _backslashes(body, found, begin)
        if escapes == MAX_BACKSLASHES:
            return
        if escapes % 2 == 0:
            yield begin, found
            begin = None


def _backslashes(body: Json, place: int, begin: int) -> int:
    """How many backslashes stand before a place, as far as they count."""
    run = body[max(begin, place - MAX_BACKSLASHES) : place]
    return len(run) - len(run.rstrip("\\") if isinstance(run, str) else run.rstrip(b"\\"))


def _is_name(body: Json, place: int) -> bool:
    """Whether a colon follows."""
    return body[place : place + 16].lstrip()[:1] in (":", b":")


def _plain(body: Json, begin: int, end: int) -> str | None:
    """The text there, if it stands for itself.

    It grows in place. To join its pieces at the end would hold up every other thread while all of it is copied.
    """
    whole = ""
    for start in range(begin, end, _PIECE):
        piece = body[start : min(start + _PIECE, end)]
        if not piece.isascii():
            return None
        text = piece if isinstance(piece, str) else piece.decode("ascii")
        if not text.isprintable() or "\\" in text:
            return None
        whole += text
    return whole
