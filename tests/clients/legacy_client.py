"""The vendor's older Python SDK, unmodified. Prints one JSON object: what each scenario came to.

Runs in an environment of its own, because both Python SDKs are called `runware`. Imports nothing of ours.
"""

import asyncio
import json
import sys
from typing import Any

from runware import IImageInference, Runware, RunwareAPIError


def task(**changes: Any) -> IImageInference:
    fields = {"positivePrompt": "a red circle", "model": "runware:108@1", "width": 128, "height": 128, "steps": 4}
    return IImageInference(**{**fields, "seed": 3, **changes})


async def seeds(client: Runware, **changes: Any) -> list[int]:
    images = await client.imageInference(requestImage=task(**changes))
    return sorted(image.seed for image in images)


async def collect_async(client: Runware) -> list[int]:
    accepted = await client.imageInference(requestImage=task(deliveryMethod="async", numberResults=2))
    images = await client.getResponse(taskUUID=accepted.taskUUID, numberResults=2)
    return sorted(image.seed for image in images)


async def message_of(awaitable: Any) -> str:
    try:
        await awaitable
    except RunwareAPIError as error:
        return f"{error.code}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


async def bad_key(url: str) -> str:
    client = Runware(api_key="wrong", url=url)
    try:
        await client.connect()
        return await message_of(client.imageInference(requestImage=task()))
    finally:
        await client.disconnect()


async def main(url: str, key: str, photo: str) -> dict[str, Any]:
    client = Runware(api_key=key, url=url)
    await client.connect()
    found = {
        "text_to_image": await seeds(client),
        "edit_from_a_local_file": await seeds(client, model="runware:108@20", referenceImages=[photo]),
        "two_results": await seeds(client, numberResults=2),
        "async": await collect_async(client),
        "bad_parameter": await message_of(client.imageInference(requestImage=task(width=1000))),
    }
    await client.disconnect()
    return {**found, "bad_key": await bad_key(url)}


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
