"""The bytes of images that stand in a text: as base64, or as a data URI.

A text is worked on in pieces, and its bytes grow in place. A call that takes a hundred megabytes at once would hold up
every other thread. Knows no store.
"""

import base64
import binascii
import io
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from server.errors import MediaError

FORMS = "a UUID of an uploaded or generated image, a data URI, base64, or an http(s) URL"

_PIECE = 2**18  # characters; at least those of an escape
_ESCAPE = 3  # characters of a percent-encoded byte
_OTHER_ALPHABET = str.maketrans("-_", "+/")


def decode_data_uri(uri: str) -> bytes:
    """The bytes of a data URI, percent-encoded or in base64. Blocks. Raises `MediaError`."""
    comma = uri.find(",")
    if comma < 0:
        raise MediaError("The data URI has no comma before its data.")
    data = _unquoted(uri, comma + 1)
    if uri[:comma].lower().endswith(";base64"):
        return _decoded(piece.decode("latin-1") for piece in data)
    whole = io.BytesIO()
    for piece in data:
        whole.write(piece)
    return whole.getvalue()


def decode_base64(text: str, begin: int = 0) -> bytes:
    """The bytes of a text in base64 from a place on: in either alphabet, with or without padding and white space.

    Blocks. Raises `MediaError`.
    """
    return _decoded(text[start : start + _PIECE] for start in range(begin, len(text), _PIECE))


def _unquoted(text: str, begin: int) -> Iterator[bytes]:
    """The percent-encoded bytes of an ASCII text. Raises `MediaError`."""
    if not text.isascii() and not text[begin:].isascii():
        raise MediaError("The data URI's data is neither base64 nor percent-encoded.")
    while begin < len(text):
        end = begin + _PIECE
        if (cut := text.rfind("%", end - _ESCAPE + 1, end)) >= 0 and end < len(text):
            end = cut  # within an escape
        yield unquote_to_bytes(text[begin:end])
        begin = end


def _decoded(pieces: Iterator[str]) -> bytes:
    data = io.BytesIO()
    rest, ended = "", False
    try:
        for piece in pieces:
            compact = "".join(piece.split()).translate(_OTHER_ALPHABET)
            unpadded = compact.rstrip("=")
            if "=" in unpadded or (ended and unpadded):
                raise binascii.Error("There is data after the padding.")
            ended |= unpadded != compact
            rest += unpadded
            whole = len(rest) - len(rest) % 4
            data.write(base64.b64decode(rest[:whole], validate=True))
            rest = rest[whole:]
        data.write(base64.b64decode(rest + "=" * (-len(rest) % 4), validate=True))
    except (binascii.Error, ValueError) as error:
        raise MediaError(f"The image cannot be read. It must be {FORMS}.") from error
    if not data.tell():
        raise MediaError(f"The image is empty. It must be {FORMS}.")
    return data.getvalue()
