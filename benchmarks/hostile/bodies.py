"""The bodies of hostile requests, and the pictures in them. Knows no connection."""

import base64
import io
import json
import uuid
import zlib
from typing import Any

from PIL import Image

from benchmarks.server import TASK

MB = 10**6


def upload(picture: bytes) -> dict[str, Any]:
    """A task that uploads a picture."""
    return {
        "taskType": "imageUpload",
        "taskUUID": str(uuid.uuid4()),
        "image": base64.b64encode(picture).decode("ascii"),
    }


def small_picture() -> bytes:
    """A picture of 64 by 64."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()


def large_png() -> bytes:
    """A PNG of 64 megapixels and 190 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = (8000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(1 + 3 * 8000)) for _ in range(8000)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_of_scans(number: int) -> bytes:
    """A progressive JPEG of 16 megapixels with a number of empty scans that it does not need."""
    buffer = io.BytesIO()
    Image.effect_noise((4000, 4000), 20).save(buffer, "JPEG", progressive=True, quality=20)
    data = buffer.getvalue()
    place = data.rindex(b"\xff\xda")
    return data[:place] + b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x01\x00" * number + data[place:]


def task(**parameters: Any) -> bytes:
    """The body of a request of one picture."""
    return tasks(1, **parameters)


def tasks(number: int, **parameters: Any) -> bytes:
    """The body of a request of that many tasks."""
    return json.dumps([{**TASK, "taskUUID": str(uuid.uuid4()), **parameters} for _ in range(number)]).encode()


def marks() -> bytes:
    """99 MB of JSON that is nothing but empty lists."""
    return b"[" + b"[]," * (33 * MB) + b"[]]"


def picture(data: bytes) -> bytes:
    """The body of a request that uploads a picture."""
    return json.dumps([upload(data)]).encode()


def picture_text(text: str) -> bytes:
    """The body of a request that uploads what a text says."""
    return json.dumps([upload(b"") | {"image": text}]).encode()


def fields(**given: Any) -> bytes:
    """The body of a request that is one object."""
    return json.dumps({"prompt": "a", **given}).encode()


def inline(size: int) -> str:
    """Base64 of that many zeros, which is no picture."""
    return base64.b64encode(bytes(size)).decode("ascii")


def texts() -> dict[str, str]:
    """12 MB of texts that no parameter has."""
    return {f"p{n}": "a" * 65_000 for n in range(190)}


def form(name: str, data: bytes, *, file: bool) -> bytes:
    """The body of a form with one part."""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"' + ('; filename="a.png"' if file else "")
    return head.encode() + b"\r\n\r\n" + data + b"\r\n--B--\r\n"
