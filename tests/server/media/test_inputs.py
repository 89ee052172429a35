import asyncio
import base64
import hashlib
import io
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from server.database import Database
from server.errors import InsufficientStorage, MediaError
from server.media.decoding.decode import Picture
from server.media.fetching.fetch import Fetcher
from server.media.inputs import InputImages
from server.media.store import SCHEMA, Kind, Media, MediaStore
from server.storage import DiskSpace
from tests.fakes import InProcessDecoders, picture

PNG = picture()
BASE64 = base64.b64encode(PNG).decode()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MediaStore]:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    yield MediaStore(database, tmp_path / "media")
    database.close()


@pytest.fixture
async def inputs(store: MediaStore, tmp_path: Path) -> AsyncIterator[InputImages]:
    fetcher = Fetcher(False, 1.0, 10**6)
    yield InputImages(store, fetcher, InProcessDecoders(tmp_path / "drafts"), max_pixels=10**6, ttl=600)
    await fetcher.aclose()


def shows_the_picture(media: Media, data: bytes = PNG) -> bool:
    """Whether an input's file is another one with the same pixels, and names the bytes that were sent."""
    with Image.open(media.path) as found, Image.open(io.BytesIO(data)) as sent:
        same = found.convert("RGB").tobytes() == sent.convert("RGB").tobytes()
    return same and media.path.read_bytes() != data and media.sha256 == hashlib.sha256(data).hexdigest()


def lines(text: str) -> str:
    return "\n".join(text[i : i + 60] for i in range(0, len(text), 60))


@pytest.mark.parametrize(
    "value",
    [
        BASE64,
        lines(BASE64),
        f"  {BASE64}\n",
        BASE64.rstrip("="),
        BASE64.replace("+", "-").replace("/", "_"),
        f"data:image/png;base64,{BASE64}",
        f"data:;BASE64,{BASE64}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
        "data:image/png;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
)
async def test_inline_forms(inputs: InputImages, value: str) -> None:
    media = await inputs.resolve(value, owner="me")
    assert shows_the_picture(media)
    assert (media.kind, media.width, media.height) == ("input", 64, 48)


async def test_a_jpegs_base64_looks_like_a_path(inputs: InputImages) -> None:
    value = base64.b64encode(picture(8, 8, "JPEG")).decode()
    assert value.startswith("/9j/")
    media = await inputs.upload(value, owner="me")
    assert (media.mime, media.path.read_bytes()) == ("image/jpeg", picture(8, 8, "JPEG"))


@pytest.mark.parametrize(
    "value",
    [
        "/home/me/photo.png",
        "./photo",
        "../photo",
        "~/photo",
        "file:///etc/passwd",
        "C:\\photo.png",
        "photo.jpeg",
        "\\\\nas\\a",
        "/half \ud800 of a character",
    ],
)
async def test_paths_are_never_opened(inputs: InputImages, value: str) -> None:
    with pytest.raises(MediaError, match="is a path") as caught:
        await inputs.resolve(value, owner="me")
    assert caught.value.message.encode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "%%%",
        "data:image/png;base64",
        "data:image/png;base64,%%",
        "data:,hello",
        "data:,é",
        "data:,\ud800",
        "data:;base64,\ud800",
        "é",
        "\ud800",
        "a===",
        "ftp://user:secret@a/b.png",
    ],
)
async def test_what_names_no_picture(inputs: InputImages, value: str) -> None:
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(value, owner="me")
    assert "secret" not in caught.value.message


async def test_on_a_full_disk_nothing_is_read(inputs: InputImages, store: MediaStore, tmp_path: Path) -> None:
    """What would be refused for itself is refused for the disk: nobody has looked at it."""
    store.space = DiskSpace(tmp_path, 1000 * shutil.disk_usage(tmp_path).free)
    texts = [partial(take, "no picture") for take in (inputs.resolve, inputs.upload)]
    files = [partial(take, b"no picture") for take in (inputs.add, inputs.add_upload)]
    for call in (*texts, *files):
        with pytest.raises(InsufficientStorage):
            await call(owner="me")


async def test_private_urls_are_refused(inputs: InputImages) -> None:
    with pytest.raises(MediaError, match="private address"):
        await inputs.resolve("HTTP://127.0.0.1/a.png", owner="me")


async def test_an_upload_by_its_uuid_lives_on_when_used(inputs: InputImages, store: MediaStore) -> None:
    upload = await inputs.upload(BASE64, owner="me")
    assert upload.kind == "upload"
    used = await inputs.resolve(upload.uuid, owner="me")
    assert (used.kind, used.sha256) == ("input", upload.sha256)
    kept = await store.get(upload.uuid, owner="me")
    assert kept is not None
    assert kept.expires is not None
    assert upload.expires is not None
    assert kept.expires > upload.expires
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(upload.uuid, owner="you")
    assert caught.value.missing


async def test_a_result_is_copied_and_keeps_its_own_expiry(inputs: InputImages, store: MediaStore) -> None:
    soon = time.time() + 5
    result = await store.add(PNG, Picture("image/png", "png", 64, 48), kind="result", owner="me", expires=soon)
    used = await inputs.resolve(result.uuid, owner="me")
    assert (used.uuid != result.uuid, used.kind) == (True, "input")
    again = await store.get(result.uuid, owner="me")
    assert again is not None
    assert again.expires == soon


async def test_an_input_can_be_used_again_by_its_uuid(inputs: InputImages) -> None:
    first = await inputs.resolve(BASE64, owner="me")
    again = await inputs.resolve(first.uuid.upper(), owner="me")
    assert again.uuid == first.uuid
    assert again.expires is not None
    assert time.time() < again.expires <= time.time() + 600


@pytest.mark.parametrize("kind", ["upload", "result"])
async def test_what_goes_while_it_is_looked_up_is_missing(
    inputs: InputImages, store: MediaStore, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    media = await store.add(PNG, Picture("image/png", "png", 64, 48), kind=kind, owner="me", expires=time.time() + 5)
    get = store.get

    async def get_and_lose(media_uuid: str, *, owner: str | None) -> Media | None:
        found = await get(media_uuid, owner=owner)
        await store.delete(media.uuid, owner="me")
        return found

    monkeypatch.setattr(store, "get", get_and_lose)
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(media.uuid, owner="me")
    assert caught.value.missing


async def test_an_expired_upload_is_missing(inputs: InputImages, store: MediaStore) -> None:
    picture_ = Picture("image/png", "png", 64, 48)
    upload = await store.add(PNG, picture_, kind="upload", owner="me", expires=time.time() - 1)
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(upload.uuid, owner="me")
    assert caught.value.missing


async def test_a_picture_behind_a_url(store: MediaStore, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PNG) + PNG)
        await writer.drain()
        writer.close()

    fetcher = Fetcher(True, 5.0, 10**6)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
        media = await InputImages(
            store, fetcher, InProcessDecoders(tmp_path / "drafts"), max_pixels=10**6, ttl=600
        ).resolve(url, owner="me")
    assert shows_the_picture(media)
    await fetcher.aclose()


async def test_a_picture_is_decoded_once(inputs: InputImages, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = InProcessDecoders._decode
    monkeypatch.setattr(InProcessDecoders, "_decode", lambda *job: decoded.append(job[-2]) or decode(*job))
    upload = await inputs.upload(BASE64, owner="me")
    used = [await inputs.resolve(value, owner="me") for value in (BASE64, BASE64, upload.uuid, upload.uuid)]
    assert [path is None for path in decoded] == [True, False]
    assert len({media.uuid for media in used}) == 1
    await inputs.resolve(BASE64, owner="you")
    assert len(decoded) == 3


async def test_an_unknown_uuid_is_missing(inputs: InputImages) -> None:
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(str(uuid.uuid4()), owner="me")
    assert caught.value.missing


async def test_bytes_are_stored_as_an_input_that_a_task_can_name(inputs: InputImages) -> None:
    stored = await inputs.add(PNG, owner="me")
    assert (stored.kind, stored.width, stored.height) == ("input", 64, 48)
    assert (await inputs.resolve(stored.uuid, owner="me")).uuid == stored.uuid
    upload = await inputs.add_upload(PNG, owner="me")
    assert (upload.kind, upload.path.read_bytes()) == ("upload", PNG)
    for data, reason in ((b"", "is empty"), (b"no image", "is no image")):
        for add in (inputs.add, inputs.add_upload):
            with pytest.raises(MediaError, match=reason):
                await add(data, owner="me")


async def test_a_mask_to_edit_by_transparency(inputs: InputImages) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(buffer, "PNG")
    mask = await inputs.add_edit_mask(await inputs.add(buffer.getvalue(), owner="me"), owner="me")
    with Image.open(mask.path) as image:
        assert image.convert("L").getextrema() == (255, 255)
    mask.path.unlink()
    with pytest.raises(MediaError, match="has expired"):
        await inputs.add_edit_mask(mask, owner="me")
