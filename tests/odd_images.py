"""Image files of many odd kinds that show one scene, and the color profiles that they carry.

The scene: left half red, right half blue, a green corner below on the left.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

import pipelines.pictures.image_files  # noqa: F401  its import registers the HEIC reader and writer

SIZE = (48, 32)
RED, BLUE, GREEN = (220, 40, 30), (30, 60, 200), (20, 160, 60)
PLACES = {(10, 6): RED, (38, 6): BLUE, (4, 28): GREEN}
LOSSY = 15  # levels that a lossy format may be off, inside a flat part

# Display P3's primaries with gamma 2.2, as a matrix profile of version 2 (ICC.1:2001-04); colorants adapted to D50.
_P3_COLORANTS = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
_D50 = (0.9642, 1.0, 0.8249)


@dataclass(frozen=True)
class OddImage:
    """A file, and how far its colors may be off; `grey` when it holds brightness only."""

    name: str
    data: bytes
    tolerance: int = 2
    grey: bool = False


def scene() -> Image.Image:
    image = Image.new("RGB", SIZE, RED)
    image.paste(BLUE, (SIZE[0] // 2, 0, *SIZE))
    image.paste(GREEN, (0, 24, 8, SIZE[1]))
    return image


def p3_profile() -> bytes:
    return _profile(b"RGB ", {**{name: _xyz(value) for name, value in _P3_COLORANTS.items()}, **_curves(b"rgb")})


def grey_profile() -> bytes:
    return _profile(b"GRAY", _curves(b"k"))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def in_p3(image: Image.Image) -> Image.Image:
    """The numbers that show an sRGB image when they are read as Display P3."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(p3_profile()))
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), target, ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    assert converted is not None
    return converted


def save(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def png_16(*, grey: bool = False, key: bool = False) -> bytes:
    """A PNG of 16 bits a channel; with a `key`, the color of its left half is transparent."""
    pixels = np.asarray(scene().convert("L") if grey else scene(), dtype=np.uint16) * 257
    stored = pixels if grey else np.ascontiguousarray(pixels[:, :, ::-1])
    png = cv2.imencode(".png", stored)[1].tobytes()
    if not key:
        return png
    return with_chunks(png, chunk(b"tRNS", np.atleast_1d(pixels[6, 10]).astype(">u2").tobytes()))


def with_empty_scans(jpeg: bytes, number: int) -> bytes:
    """A progressive JPEG with that many more scans, for each of which a decoder passes over all pixels."""
    place = jpeg.rindex(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x01\x00"
    return jpeg[:place] + scan * number + jpeg[place:]


@cache
def shows_scene() -> tuple[OddImage, ...]:
    """Files that every viewer shows as the scene."""
    return tuple(_shows_scene())


def _shows_scene() -> Iterator[OddImage]:
    image, p3 = scene(), p3_profile()
    yield from _modes(image)
    yield from _orientations(image)
    yield from _profiles(image, p3)
    text = b"a workflow " * 200_000
    png = save(image, "PNG")
    for kind, body in (
        (b"tEXt", b"k\0" + text),
        (b"zTXt", b"k\0\0" + zlib.compress(text)),
        (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(text)),
    ):
        yield OddImage(f"{kind.decode()} of 2 MB", with_chunks(png, chunk(kind, body)))
    yield OddImage("text behind the pixels", png[:-12] + chunk(b"zTXt", b"k\0\0" + zlib.compress(text)) + png[-12:])
    yield OddImage("a damaged EXIF block", save(image, "JPEG", quality=95, exif=b"Exif\0\0garbage"), LOSSY)
    yield OddImage("a gamma that means sRGB", with_chunks(png, chunk(b"gAMA", struct.pack(">I", 45455))))
    light = Image.fromarray(_to_light(np.asarray(image)))
    yield OddImage("linear light", with_chunks(save(light, "PNG"), chunk(b"gAMA", struct.pack(">I", 100_000))), 8)


def _modes(image: Image.Image) -> Iterator[OddImage]:
    for image_format in ("PNG", "BMP", "TIFF", "GIF"):
        yield OddImage(f"{image_format} RGB", save(image, image_format), 3 if image_format == "GIF" else 0)
        yield OddImage(f"{image_format} P", save(image.quantize(8), image_format), 3)
        yield OddImage(f"{image_format} L", save(image.convert("L"), image_format), grey=True)
    clear = image.copy()
    clear.putalpha(255)
    for image_format in ("PNG", "TIFF", "WEBP", "AVIF", "HEIF"):
        options = {"quality": 95} if image_format != "TIFF" else {}
        lossy = 0 if image_format in ("PNG", "TIFF") else LOSSY
        yield OddImage(f"{image_format} RGBA", save(clear, image_format, **options), lossy)
    yield OddImage("PNG LA", save(clear.convert("LA"), "PNG"), grey=True)
    yield OddImage("WEBP lossless", save(image, "WEBP", lossless=True), 0)
    yield OddImage("WEBP lossy", save(image, "WEBP", quality=95), LOSSY)
    yield OddImage("AVIF", save(image, "AVIF", quality=95), LOSSY)
    yield OddImage("HEIC", save(image, "HEIF", quality=95), LOSSY)
    yield OddImage("JPEG", save(image, "JPEG", quality=95), LOSSY)
    yield OddImage("progressive JPEG", save(image, "JPEG", quality=95, progressive=True), LOSSY)
    yield OddImage("JPEG L", save(image.convert("L"), "JPEG", quality=95), LOSSY, grey=True)
    yield OddImage("JPEG CMYK", save(image.convert("CMYK"), "JPEG", quality=95), LOSSY)
    yield OddImage("TIFF CMYK", save(image.convert("CMYK"), "TIFF"))
    yield OddImage("TIFF YCbCr", save(image.convert("YCbCr"), "TIFF"), LOSSY)
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.info = {}
    yield OddImage("TIFF LAB", save(lab, "TIFF"), 8)  # 8 bits of LAB are coarse
    for packing in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        options = {"quality": 95} if packing == "jpeg" else {}
        lossy = LOSSY if packing == "jpeg" else 0
        yield OddImage(f"TIFF {packing}", save(image, "TIFF", compression=packing, **options), lossy)
    yield OddImage("PNG RGB of 16 bits", png_16(), 1)
    yield OddImage("PNG L of 16 bits", png_16(grey=True), grey=True)
    grey_16 = Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 257)
    yield OddImage("TIFF L of 16 bits", save(grey_16, "TIFF"), grey=True)
    yield OddImage("PNG interlaced", save(image, "PNG", interlace=1), 0)
    blank = Image.new("RGB", SIZE, "white")
    for image_format in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(image_format, {})
        frames = save(image, image_format, save_all=True, append_images=[blank], **options)
        yield OddImage(f"{image_format} of two frames", frames, LOSSY if image_format == "AVIF" else 3)


def _orientations(image: Image.Image) -> Iterator[OddImage]:
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, turn in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for image_format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"):
            options: dict[str, Any] = {"quality": 95} if image_format not in ("PNG", "TIFF") else {}
            lossy = 0 if image_format in ("PNG", "TIFF") else LOSSY
            data = save(image.transpose(turn), image_format, exif=exif.tobytes(), **options)
            yield OddImage(f"{image_format} turned, {orientation}", data, lossy)


def _profiles(image: Image.Image, p3: bytes) -> Iterator[OddImage]:
    numbers = in_p3(image)
    for image_format in ("PNG", "TIFF", "JPEG", "WEBP", "AVIF", "HEIF"):
        options: dict[str, Any] = {"quality": 95} if image_format not in ("PNG", "TIFF") else {}
        lossy = 2 if image_format in ("PNG", "TIFF") else LOSSY
        yield OddImage(f"{image_format} in P3", save(numbers, image_format, icc_profile=p3, **options), lossy)
        exact = save(image, image_format, icc_profile=srgb_profile(), **options)
        yield OddImage(f"{image_format} with the profile of sRGB", exact, 0 if lossy == 2 else lossy)
    with_alpha = numbers.copy()
    with_alpha.putalpha(255)
    yield OddImage("PNG in P3 with alpha", save(with_alpha, "PNG", icc_profile=p3))
    yield OddImage("PNG P in P3", save(numbers.quantize(8), "PNG", icc_profile=p3), 3)
    yield OddImage("a damaged profile", save(image, "PNG", icc_profile=b"no profile at all"), 0)
    yield OddImage("a grey profile on colors", save(image, "PNG", icc_profile=grey_profile()), 0)
    huge = b"p\0\0" + zlib.compress(bytes(3 * 2**20))
    yield OddImage("a profile of 3 MB", with_chunks(save(image, "PNG"), chunk(b"iCCP", huge)), 0)


def _to_light(levels: np.ndarray) -> np.ndarray:
    shares = levels / 255
    light = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return (light * 255).round().astype(np.uint8)


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curves(letters: bytes) -> dict[bytes, bytes]:
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    return {letters[n : n + 1] + b"TRC": gamma for n in range(len(letters))}


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"a profile\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": _xyz(_D50),
        **tags,
    }
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + table + body
