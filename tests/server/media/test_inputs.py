import base64
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.database import Database
from server.errors import MediaError
from server.media.decode import Picture
from server.media.fetch import Fetcher
from server.media.inputs import UPLOAD_SECONDS, InputImages
from server.media.store import SCHEMA, MediaStore
from tests.fakes import picture

PNG = picture()
BASE64 = base64.b64encode(PNG).decode()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MediaStore]:
    database = Database(tmp_path / "db.sqlite", [SCHEMA])
    yield MediaStore(database, tmp_path / "media")
    database.close()


@pytest.fixture
async def inputs(store: MediaStore) -> AsyncIterator[InputImages]:
    fetcher = Fetcher(False, 1.0, 10**6)
    yield InputImages(store, fetcher, max_pixels=10**6, ttl=600)
    await fetcher.aclose()


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
    ],
)
async def test_inline_forms(inputs: InputImages, value: str) -> None:
    media = await inputs.resolve(value, owner="me")
    assert media.path.read_bytes() == PNG
    assert (media.kind, media.width, media.height) == ("input", 64, 48)


async def test_a_jpegs_base64_looks_like_a_path(inputs: InputImages) -> None:
    value = base64.b64encode(picture(8, 8, "JPEG")).decode()
    assert value.startswith("/9j/")
    assert (await inputs.resolve(value, owner="me")).mime == "image/jpeg"


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
    ],
)
async def test_paths_are_never_opened(inputs: InputImages, value: str) -> None:
    with pytest.raises(MediaError, match="is a path"):
        await inputs.resolve(value, owner="me")


@pytest.mark.parametrize(
    "value", ["", "%%%", "data:image/png;base64", "data:image/png;base64,%%", "data:,hello", "ftp://a/b"]
)
async def test_what_names_no_picture(inputs: InputImages, value: str) -> None:
    with pytest.raises(MediaError):
        await inputs.resolve(value, owner="me")


async def test_private_urls_are_refused(inputs: InputImages) -> None:
    with pytest.raises(MediaError, match="private address"):
        await inputs.resolve("HTTP://127.0.0.1/a.png", owner="me")


async def test_an_upload_by_its_uuid_lives_on_when_used(inputs: InputImages, store: MediaStore) -> None:
    upload = await inputs.upload(BASE64, owner="me")
    assert upload.kind == "upload"
    used = await inputs.resolve(upload.uuid, owner="me")
    assert used.uuid == upload.uuid
    assert used.expires is not None
    assert used.expires >= time.time() + UPLOAD_SECONDS - 60
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


async def test_an_unknown_uuid_is_missing(inputs: InputImages) -> None:
    with pytest.raises(MediaError) as caught:
        await inputs.resolve(str(uuid.uuid4()), owner="me")
    assert caught.value.missing
