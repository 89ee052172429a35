"""Writes a text into an image file, and reads it again.

PNG holds it in an international text chunk, JPEG in an EXIF user comment, WEBP in an XMP packet. Knows formats. Does
not know what the text says.
"""

from pathlib import Path
from typing import Any, BinaryIO, Literal
from xml.etree import ElementTree

from PIL import Image, PngImagePlugin

Format = Literal["JPG", "PNG", "WEBP"]

KEYWORD = "ownware"
_NAMESPACE = "https://ownware.dev/receipt/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_ASCII = b"ASCII\0\0\0"  # the character code that precedes a user comment (EXIF 2.32, 4.6.5)
# EXIF is one JPEG segment of 64 KiB, which holds the headers too.
JPEG_LIMIT = 65_000


def fits(text: str, image_format: Format) -> bool:
    """Whether a file of this format can hold a text."""
    return image_format != "JPG" or len(text) <= JPEG_LIMIT


def save_options(text: str, image_format: Format, exif: Image.Exif | None = None) -> dict[str, Any]:
    """The arguments of Pillow's `save` that write an ASCII text. Raises `ValueError` when it does not fit.

    A JPG has it in its EXIF block: in a copy of `exif` where that is given.
    """
    if not fits(text, image_format):
        raise ValueError(f"{len(text)} characters do not fit into the metadata of a {image_format}")
    if image_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(KEYWORD, text)
        return {"pnginfo": chunks}
    if image_format == "WEBP":
        return {"xmp": _packet(text)}
    block = Image.Exif()
    if exif is not None:
        block.load(exif.tobytes())
    block.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + text.encode("ascii")
    return {"exif": block}


def embedded_text(file: Path | BinaryIO) -> str | None:
    """The text that `save_options` wrote into a file, or None. Raises `OSError` when the file is no image."""
    with Image.open(file) as image:
        if isinstance(image, PngImagePlugin.PngImageFile):
            text = image.text.get(KEYWORD)
            return None if text is None else str(text)
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
        if isinstance(comment, bytes) and comment.startswith(_ASCII):
            return comment.removeprefix(_ASCII).decode("ascii")
        packet = image.info.get("xmp")
    return _text_of(packet) if packet else None


def _packet(text: str) -> bytes:
    root = ElementTree.Element("{adobe:ns:meta/}xmpmeta")
    described = ElementTree.SubElement(ElementTree.SubElement(root, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description")
    ElementTree.SubElement(described, f"{{{_NAMESPACE}}}receipt").text = text
    return ElementTree.tostring(root)


def _text_of(packet: bytes) -> str | None:
    try:
        return ElementTree.fromstring(packet).findtext(f".//{{{_NAMESPACE}}}receipt")
    except ElementTree.ParseError:
        return None
