"""From a text on the wire that names an image to a stored image.

Four forms: the UUID of an uploaded or generated image, a data URI, an http(s) URL, bare base64. A path is refused: the
client's disk is not reachable, and the server's own is private.
"""

import asyncio
import re
import time

from server.errors import MediaError
from server.media.decoding.decoder_pool import DecoderPool
from server.media.edit_mask import edit_mask
from server.media.fetching.fetch import Fetcher
from server.media.inline_images import FORMS, decode_base64, decode_data_uri
from server.media.store import Media, MediaStore, digest_of

# The vendor deletes uploads 30 days after their last use (Image Upload page).
UPLOAD_SECONDS = 30 * 86_400

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATH = re.compile(r"(\.{0,2}[/\\]|~|file:|[A-Za-z]:[/\\])|.*\.(png|jpe?g|webp|bmp|gif|tiff?|avif|heic)", re.IGNORECASE)
_LONGEST_PATH = 4096
_LONG = 2**20  # characters of a text that is copied no more often than needed
_LONGEST_SCHEME = 100  # characters that are looked at: base64 of a hundred megabytes may look like a scheme
_OTHER_SCHEME = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class InputImages:
    """Resolves and stores the input images of tasks. `ttl` is in seconds, `max_pixels` bounds width times height."""

    def __init__(
        self, store: MediaStore, fetcher: Fetcher, decoders: DecoderPool, *, max_pixels: int, ttl: int
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._decoders = decoders
        self._max_pixels = max_pixels
        self._ttl = ttl

    async def resolve(self, value: str, *, owner: str) -> Media:
        """The image that a text names, written anew so that its task can be rendered later.

        Raises `MediaError`, and `InsufficientStorage` before anything is read.
        """
        self._store.space.check()
        value = _stripped(value)
        if not _UUID.fullmatch(value):
            return await self._store_input(await self._read(value), owner)
        media = await self._find(value, owner)
        if media is None:
            raise MediaError("No image with this UUID is stored here, or it has expired.", missing=True)
        return media

    async def upload(self, value: str, *, owner: str) -> Media:
        """Store an image as an upload, as it came. Raises as `resolve` does."""
        self._store.space.check()
        return await self.add_upload(await self._read(_stripped(value)), owner=owner)

    async def add_upload(self, data: bytes, *, owner: str) -> Media:
        """Store an image that came as bytes as an upload. Raises as `resolve` does."""
        self._store.space.check()
        if not data:
            raise MediaError("The image is empty.")
        picture = await self._decoders.check(data, self._max_pixels, owner=owner)
        expires = time.time() + UPLOAD_SECONDS
        return await self._store.add(data, picture, kind="upload", owner=owner, expires=expires)

    async def add(self, data: bytes, *, owner: str) -> Media:
        """Store an image that came as bytes, so that its UUID names it in a task. Raises as `resolve` does."""
        self._store.space.check()
        if not data:
            raise MediaError("The image is empty.")
        return await self._store_input(data, owner)

    async def add_edit_mask(self, mask: Media, *, owner: str) -> Media:
        """Store a mask that is white where a stored one is transparent. Raises `MediaError`."""
        try:
            data = await asyncio.to_thread(mask.path.read_bytes)
        except FileNotFoundError as error:
            raise MediaError("The mask has expired.", missing=True) from error
        return await self.add(await asyncio.to_thread(edit_mask, data), owner=owner)

    async def _find(self, media_uuid: str, owner: str) -> Media | None:
        """The input of that UUID, or an input with the pixels of that upload or result."""
        media = await self._store.get(media_uuid, owner=owner)
        if media is None:
            return None
        if media.kind == "input":
            return await self._store.extend(media, time.time() + self._ttl)
        if media.kind == "upload" and await self._store.extend(media, time.time() + UPLOAD_SECONDS) is None:
            return None
        known = await self._store.find_input(media.sha256, owner=owner, expires=time.time() + self._ttl)
        if known is not None:
            return known
        try:
            data = await asyncio.to_thread(media.path.read_bytes)
        except FileNotFoundError:  # deleted since the row was read
            return None
        return await self._rewrite(data, media.sha256, owner)

    async def _store_input(self, data: bytes, owner: str) -> Media:
        """Store the pixels of an image once. Later uses of the same bytes decode nothing."""
        digest = await asyncio.to_thread(digest_of, data)
        known = await self._store.find_input(digest, owner=owner, expires=time.time() + self._ttl)
        return known or await self._rewrite(data, digest, owner)

    async def _rewrite(self, data: bytes, digest: str, owner: str) -> Media:
        """Store the pixels of an image that has this digest."""
        expires = time.time() + self._ttl
        async with self._decoders.rewrite(data, self._max_pixels, owner=owner) as new:
            return await self._store.add_input(new.path, digest, new.picture, owner=owner, expires=expires)

    async def _read(self, value: str) -> bytes:
        if _scheme(value).startswith("data:"):
            return await asyncio.to_thread(decode_data_uri, value)
        if needs_download(value):
            return await self._fetcher.fetch(value)
        if _OTHER_SCHEME.match(value[:_LONGEST_SCHEME]):
            raise MediaError(f"Only http and https URLs are fetched. Send {FORMS}.")
        if len(value) <= _LONGEST_PATH and _PATH.match(value) and not _is_base64_of_jpeg(value):
            # The message does not repeat the text: it may hold a password, or a lone surrogate, which JSON cannot.
            raise MediaError(f"The value is a path. A file on your machine cannot be read here. Send {FORMS}.")
        return await asyncio.to_thread(decode_base64, value)


def _stripped(value: str) -> str:
    """A text without white space around it. A very long one stays: its copy would hold up every other client."""
    return value if len(value) > _LONG else value.strip()


def needs_download(value: str) -> bool:
    """Whether a text names an image that somebody else serves."""
    return _scheme(value).startswith(("http://", "https://"))


def _scheme(value: str) -> str:
    """The first characters of a text in lower case, as many as the longest scheme that is read here."""
    return value[:_LONGEST_PATH].lstrip()[:8].lower()


def _is_base64_of_jpeg(value: str) -> bool:
    """Whether a text is base64 of a JPEG, which starts with "/9j/" and so looks like a path."""
    return value.startswith("/9j/")
