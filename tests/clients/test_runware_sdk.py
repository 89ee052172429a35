"""The vendor's current Python SDK, unmodified, over both of its transports."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from runware import Runware, RunwareError, file_to_data_uri

from tests.fakes import picture
from tests.live import API_KEY, LiveServer

TASK: dict[str, Any] = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a red circle, 红色的圆",
    "width": 128,
    "height": 128,
    "steps": 4,
    "seed": 3,
}

Connect = Callable[..., AbstractAsyncContextManager[Runware]]


@pytest.fixture(params=["websocket", pytest.param("rest", marks=pytest.mark.slow)])
def connect(request: pytest.FixtureRequest, live: LiveServer) -> Connect:
    @asynccontextmanager
    async def connected(key: str = API_KEY) -> AsyncIterator[Runware]:
        client = Runware(
            api_key=key, transport=request.param, http_base_url=live.api, ws_base_url=live.socket, max_retries=0
        )
        try:
            await client.connect()
            yield client
        finally:
            await client.close()

    return connected


async def test_text_to_image(connect: Connect) -> None:
    async with connect() as client:
        (result,) = await client.run({**TASK, "deliveryMethod": "sync"})
    assert result["seed"] == 3
    async with httpx2.AsyncClient() as web:
        assert (await web.get(result["imageURL"])).headers["content-type"] == "image/jpeg"


async def test_edit_from_a_local_file(connect: Connect, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    edit = {**TASK, "model": "runware:108@20", "inputs": {"referenceImages": [file_to_data_uri(str(photo))]}}
    async with connect() as client:
        (result,) = await client.run(edit)
    assert result["imageURL"]


@pytest.mark.slow
async def test_two_results_async_as_is_its_default(connect: Connect) -> None:
    async with connect() as client:
        results = await client.run({**TASK, "numberResults": 2})
    assert [result["seed"] for result in results] == [3, 4]
    assert len({result["imageUUID"] for result in results}) == 2


async def test_two_results_sync(connect: Connect) -> None:
    async with connect() as client:
        results = await client.run({**TASK, "numberResults": 2, "deliveryMethod": "sync"})
    assert sorted(result["seed"] for result in results) == [3, 4]


@pytest.mark.slow
async def test_base64(connect: Connect) -> None:
    async with connect() as client:
        (result,) = await client.run({**TASK, "outputType": "base64Data", "outputFormat": "WEBP"})
    assert result["imageBase64Data"].startswith("UklGR")


@pytest.mark.slow
async def test_several_at_once(connect: Connect) -> None:
    async with connect() as client:
        found = await asyncio.gather(*(client.run({**TASK, "seed": seed}) for seed in (10, 20, 30)))
    assert [results[0]["seed"] for results in found] == [10, 20, 30]


async def test_a_bad_parameter(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(RunwareError) as caught:
            await client.run({**TASK, "width": 1000})
    assert (caught.value.code, caught.value.parameter) == ("validation", "width")
    assert "multiples of 16" in caught.value.message


async def test_a_bad_key(connect: Connect) -> None:
    with pytest.raises(RunwareError) as caught:
        async with connect("wrong") as client:
            await client.run(TASK)
    assert caught.value.code == "auth"


async def test_a_repeated_uuid(connect: Connect) -> None:
    task = {**TASK, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "sync"}
    async with connect() as client:
        await client.run(task)
        with pytest.raises(RunwareError) as caught:
            await client.run(task)
        assert "accepted before" in caught.value.message
        again = {"status": "processing"}
        while again.get("status") == "processing":  # the last image is sent a moment before its task ends
            (again,) = await client.get_response({"taskUUID": task["taskUUID"]})
    assert again.get("status") == "success"


async def test_upload_and_the_other_tasks(connect: Connect, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    async with connect() as client:
        stored = await only(client.media_storage({"operation": "upload", "media": file_to_data_uri(str(photo))}))
        uploaded = stored["mediaUUID"]
        edit = {**TASK, "model": "runware:108@22", "inputs": {"referenceImages": [uploaded] * 2}}
        result = await only(client.run(edit))
        details = await only(client.get_task_details({"taskUUID": result["taskUUID"]}))
        models = await only(client.model_search({"search": "edit"}))
        account = await only(client.account_management({"operation": "getDetails"}))
        deleted = await only(client.media_storage({"operation": "delete", "media": uploaded}))
    assert details["request"][0]["inputs"]["referenceImages"] == [uploaded] * 2
    assert [row["air"] for row in models["results"]][:2] == ["runware:108@20", "runware:108@22"]
    assert account["balance"] == 0
    assert deleted["mediaUUID"] == uploaded


async def only(results: Awaitable[Any]) -> dict[str, Any]:
    (result,) = await results
    return result
