"""Thumbnails: small copies of stored images. Each is made when it is first asked for, and kept beside its image.

The store deletes both together. Knows no wire format.
"""

import asyncio
from pathlib import Path
from weakref import WeakValueDictionary

from server.media.decoding.decoder_pool import DecoderPool
from server.media.store import Media

LONGEST_SIDE = 384  # pixels: the page's tiles have up to 240, and many screens have two pixels for one
MIME = "image/webp"
_AT_A_TIME = 2  # images that are read into memory; the others wait


class Thumbnails:
    """Makes them in the decoder processes."""

    def __init__(self, decoders: DecoderPool) -> None:
        self._decoders = decoders
        self._locks = WeakValueDictionary[str, asyncio.Lock]()  # of the images whose thumbnails are being made
        self._slots = asyncio.Semaphore(_AT_A_TIME)

    async def find(self, media: Media) -> Path:
        """The file of an image's thumbnail.

        Raises `FileNotFoundError` when the image is gone, `MediaError` when it cannot be decoded, and `OSError` when
        the thumbnail cannot be written.
        """
        async with self._locks.setdefault(media.uuid, asyncio.Lock()):
            if not await asyncio.to_thread(media.thumbnail.is_file):
                async with self._slots:
                    await self._make(media)
        return media.thumbnail

    async def _make(self, media: Media) -> None:
        data, pixels = await asyncio.to_thread(media.path.read_bytes), media.width * media.height
        async with self._decoders.rewrite(data, pixels, owner=media.owner, longest=LONGEST_SIDE) as new:
            await asyncio.to_thread(_put_beside, media, new.path)


def _put_beside(media: Media, draft: Path) -> None:
    draft.replace(media.thumbnail)
    if not media.path.is_file():  # it was deleted meanwhile, and its thumbnail before this one
        media.thumbnail.unlink(missing_ok=True)
        raise FileNotFoundError(media.path)
