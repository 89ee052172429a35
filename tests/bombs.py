"""Pictures that cost far more to decode than to send."""

import base64
import struct

from tests.odd_images import chunk

_HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
# A few bytes whose header announces 3.6 thousand million pixels.
BOMB = b"\x89PNG\r\n\x1a\n" + _HEADER + chunk(b"IEND", b"")
BOMB_URI = "data:image/png;base64," + base64.b64encode(BOMB).decode()
