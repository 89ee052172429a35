"""Draws a short text into the bottom right corner of an image. Imports no torch."""

from PIL import Image, ImageDraw, ImageFont

# Of the shorter side. A text of 12 pixels is the smallest that stays readable after JPEG.
TEXT_SHARE, MIN_TEXT = 0.032, 12
_STROKE_SHARE = 0.12  # of the text's height
_MARGIN_SHARE = 0.6  # of the text's height, from both edges
# A light text with a dark outline stands out from every background, also from a striped one.
_FILL, _OUTLINE = (255, 255, 255), (0, 0, 0)


def draw_watermark(image: Image.Image, text: str) -> Image.Image:
    """A copy of an RGB image with the text. The text shrinks until it fits."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for height in range(max(MIN_TEXT, round(TEXT_SHARE * min(image.size))), 0, -1):
        font, stroke = ImageFont.load_default(height), max(1, round(_STROKE_SHARE * height))
        margin = stroke + round(_MARGIN_SHARE * height)
        if draw.textlength(text, font) + 2 * margin <= image.width:
            corner = (image.width - margin, image.height - margin)
            draw.text(corner, text, _FILL, font, anchor="rd", stroke_width=stroke, stroke_fill=_OUTLINE)
            break
    return image
