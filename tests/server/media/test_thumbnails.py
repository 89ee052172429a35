import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from server.database import Database
from server.errors import MediaError
from server.media.decoding.decode import Picture
from server.media.decoding.decoder_pool import DecoderPool
from server.media.store import SCHEMA, Media, MediaStore
from server.media.thumbnails import LONGEST_SIDE, Thumbnails
from tests.fakes import InProcessDecoders, picture

WIDE = Picture("image/png", "png", 800, 600)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MediaStore]:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    yield MediaStore(database, tmp_path / "media")
    database.close()


@pytest.fixture
def decoders(tmp_path: Path) -> Iterator[DecoderPool]:
    pool = InProcessDecoders(tmp_path / "media" / "drafts")
    yield pool
    pool.close()


async def add(store: MediaStore, data: bytes | None = None, lifetime: float = 60) -> Media:
    data = picture(WIDE.width, WIDE.height) if data is None else data
    return await store.add(data, WIDE, kind="upload", owner="me", expires=time.time() + lifetime)


async def test_it_is_made_once_and_stays(
    store: MediaStore, decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, small = await add(store), Thumbnails(decoders)
    paths = await asyncio.gather(*(small.find(media) for _ in range(5)))
    assert set(paths) == {media.thumbnail}
    with Image.open(media.thumbnail) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (LONGEST_SIDE, LONGEST_SIDE * 3 // 4))
        assert thumbnail.getpixel((1, 1)) == pytest.approx((220, 40, 40), abs=8)
    monkeypatch.setattr(DecoderPool, "rewrite", None)
    assert await Thumbnails(decoders).find(media) == media.thumbnail


async def test_of_several_that_ask_at_once_one_makes_it(
    store: MediaStore, decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    decode = InProcessDecoders._decode

    async def count(self: InProcessDecoders, data: bytes, *others: object) -> Picture:
        made.append(data)
        return await decode(self, data, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(InProcessDecoders, "_decode", count)
    media, small = await add(store), Thumbnails(decoders)
    await asyncio.gather(*(small.find(media) for _ in range(5)))
    assert made == [media.path.read_bytes()]


async def test_it_leaves_with_its_image(store: MediaStore, decoders: DecoderPool) -> None:
    small = Thumbnails(decoders)
    deleted, expired = await add(store), await add(store, picture(80, 60), lifetime=1)
    for media in (deleted, expired):
        await small.find(media)
    assert await store.delete(deleted.uuid, owner="me")
    assert await store.sweep(time.time() + 2) == 1
    assert not [path for media in (deleted, expired) for path in media.path.parent.iterdir() if path.is_file()]


async def test_an_image_that_is_deleted_meanwhile_leaves_none(
    store: MediaStore, decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = await add(store)
    decode = InProcessDecoders._decode

    async def delete_then(self: InProcessDecoders, *arguments: object) -> Picture:
        await store.delete(media.uuid, owner="me")
        return await decode(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(InProcessDecoders, "_decode", delete_then)
    with pytest.raises(FileNotFoundError):
        await Thumbnails(decoders).find(media)
    assert not media.thumbnail.exists()


async def test_a_damaged_file_has_none(store: MediaStore, decoders: DecoderPool) -> None:
    media = await add(store, b"picture")
    with pytest.raises(MediaError, match="no image"):
        await Thumbnails(decoders).find(media)
    assert not media.thumbnail.exists()


async def test_it_has_no_receipt_and_no_profile(store: MediaStore, decoders: DecoderPool) -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture(WIDE.width, WIDE.height))) as image:
        exif = Image.Exif()
        exif[0x010E] = "a secret"
        image.save(buffer, "JPEG", exif=exif, comment=b"a secret")
    media = await add(store, buffer.getvalue())
    await Thumbnails(decoders).find(media)
    assert b"a secret" in media.path.read_bytes()
    assert b"a secret" not in media.thumbnail.read_bytes()
    with Image.open(media.thumbnail) as thumbnail:
        assert not thumbnail.getexif()
