"""What a result keeps of its source's metadata: the capture data in EXIF, and the ICC profile with its colors.

The orientation and the size that EXIF states are those of the result. Previews of the source are left out.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageCms

from pipelines.pictures.image_files import DECODER_ERRORS, open_image
from server.media.metadata import JPEG_LIMIT

_ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x0112, 0x8769, 0x8825
_WIDTH, _HEIGHT, _COLOR_SPACE, _MAKER_NOTE = 0xA002, 0xA003, 0xA001, 0x927C
# What is shown, by whom, with what and when, and the two blocks of details. All else says how pixels are stored.
_KEPT = frozenset({0x010E, 0x010F, 0x0110, _ORIENTATION, 0x0131, 0x0132, 0x013B, 0x4746, 0x4749, 0x8298})
_KEPT_DETAILS = frozenset({_EXIF_IFD, _GPS_IFD})
_SRGB, _UNCALIBRATED = 1, 0xFFFF
_RECEIPT_ROOM = 16_384  # bytes of a JPG's EXIF block that are left for the receipt
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_DAMAGE = (*DECODER_ERRORS, ImageCms.PyCMSError)


@dataclass(frozen=True)
class KeptMetadata:
    """The EXIF block and the profile of a source, None where it has none that can be kept; and why not."""

    exif: Image.Exif | None = None
    icc_profile: bytes | None = None
    notes: tuple[str, ...] = ()


def read_metadata(source: Path, size: tuple[int, int], image_format: str) -> KeptMetadata:
    """What a result of `size` pixels in `image_format` keeps of its source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about corrupt EXIF blocks
        with open_image(source) as image:
            notes: list[str] = []
            exif = _exif(image, notes)
            profile = _profile(image, notes)
    if exif is not None:
        _describe_result(exif, size, has_profile=profile is not None)
        if image_format == "JPG":
            exif = _fitting(exif, notes)
    return KeptMetadata(exif, profile, tuple(notes))


def in_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """An sRGB image as the numbers that show it in a profile; alpha stays."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image.convert("RGB"), ImageCms.createProfile("sRGB"), target, _INTENT)
    if converted is None:  # only for a conversion in place
        raise ValueError("the conversion returned no image")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _exif(image: Image.Image, notes: list[str]) -> Image.Exif | None:
    """A copy of the EXIF block, without its preview."""
    try:
        found, kept = image.getexif(), Image.Exif()
        for tag in _KEPT & found.keys():
            kept[tag] = found[tag]
        for block in _KEPT_DETAILS:
            if details := found.get_ifd(block):
                kept.get_ifd(block).update(details)
        kept.tobytes()  # fails here, where a value is damaged
        return kept if len(kept) or any(kept.get_ifd(block) for block in _KEPT_DETAILS) else None
    except _DAMAGE:
        notes.append("its EXIF block is damaged, so it is not kept")
        return None


def _profile(image: Image.Image, notes: list[str]) -> bytes | None:
    """The profile, if it is one of RGB that results can be converted to."""
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        space = ImageCms.core.profile_frombytes(profile).xcolor_space.strip()
        if space == "RGB":
            in_profile(Image.new("RGB", (1, 1)), profile)  # some profiles convert in one direction only
            return bytes(profile)
        notes.append(f"its profile is one of {space}, so the result is in sRGB")
    except _DAMAGE:
        notes.append("its color profile cannot be used, so the result is in sRGB")
    return None


def _describe_result(exif: Image.Exif, size: tuple[int, int], *, has_profile: bool) -> None:
    if _ORIENTATION in exif:
        exif[_ORIENTATION] = 1
    details = exif.get_ifd(_EXIF_IFD)
    if _WIDTH in details or _HEIGHT in details:
        details[_WIDTH], details[_HEIGHT] = size
    if _COLOR_SPACE in details:
        details[_COLOR_SPACE] = _UNCALIBRATED if has_profile else _SRGB


def _fitting(exif: Image.Exif, notes: list[str]) -> Image.Exif | None:
    """The block with room for a receipt: a JPG has one segment of 64 KiB for both."""
    if len(exif.tobytes()) <= JPEG_LIMIT - _RECEIPT_ROOM:
        return exif
    details = exif.get_ifd(_EXIF_IFD)
    if _MAKER_NOTE in details:
        del details[_MAKER_NOTE]
        notes.append("the maker's note in its EXIF block is left out, because the receipt needs the room")
    if len(exif.tobytes()) <= JPEG_LIMIT - _RECEIPT_ROOM:
        return exif
    notes.append("its EXIF block is too large for a JPG, so it is not kept")
    return None
