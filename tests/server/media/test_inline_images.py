import base64
from typing import Any
from urllib.parse import quote_from_bytes

import pytest

from server.errors import MediaError
from server.media import inline_images
from server.media.inline_images import decode_base64, decode_data_uri

DATA = bytes(range(256)) + b"\xff" * 20


@pytest.fixture(autouse=True, params=[3, 4, 5, 7, 2**18])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Texts that are cut anywhere decode as whole ones do."""
    monkeypatch.setattr(inline_images, "_PIECE", request.param)
    return request.param


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 100, len(DATA)])
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
def test_base64(length: int, alphabet: Any) -> None:
    text = alphabet(DATA[:length]).decode()
    assert decode_base64(text) == decode_base64(text.rstrip("=\n")) == DATA[:length]
    assert decode_base64(f"data:,{text}", 6) == DATA[:length]


@pytest.mark.parametrize(
    "text", ["", "=", " \n", "a", "a===", "ab=c", "ab==cdef", "ab=\n=cd", "%%%%", "abc\u00e9", "\ud800abc"]
)
def test_no_base64(text: str) -> None:
    with pytest.raises(MediaError, match=r"cannot be read|is empty"):
        decode_base64(text)


def test_data_uris() -> None:
    encoded = base64.b64encode(DATA).decode()
    assert decode_data_uri(f"data:image/png;base64,{encoded}") == DATA
    assert decode_data_uri(f"DATA:image/png;BASE64,{quote_from_bytes(encoded.encode())}") == DATA
    assert decode_data_uri(f"data:,{quote_from_bytes(DATA)}") == DATA
    assert decode_data_uri("data:," + "".join(f"%{byte:02x}" for byte in DATA)) == DATA
    assert decode_data_uri("data:,%%4%zz%4") == b"%%4%zz%4"  # what is no escape stands for itself


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:,\u00e9", "data:;base64,\ud800", "data:;base64,%"])
def test_no_data_uri(uri: str) -> None:
    with pytest.raises(MediaError):
        decode_data_uri(uri)
