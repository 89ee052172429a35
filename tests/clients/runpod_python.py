"""RunPod's Python SDK, unmodified, sync and asyncio. Prints what each scenario came to, as JSON.

Runs in an environment of its own. Imports nothing of ours.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import runpod
from runpod.endpoint.asyncio.asyncio_runner import Endpoint as AsyncEndpoint

TASK = {"prompt": "a red circle", "size": "128*128", "seed": 3, "num_inference_steps": 4}


def problem(call: Any, *arguments: Any) -> str:
    try:
        return repr(call(*arguments))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def sync(photo: str) -> dict[str, Any]:
    draw, edit = runpod.Endpoint("qwen-image-t2i"), runpod.Endpoint("qwen-image-edit")
    picture = "data:image/png;base64," + base64.b64encode(Path(photo).read_bytes()).decode()
    job = draw.run({"input": TASK})
    cancelled = draw.run({"input": {**TASK, "num_inference_steps": 50}})
    cancel = cancelled.cancel()["status"]
    streamed = draw.run({"input": TASK})
    found = {
        "run": job.output(timeout=60),
        "status": job.status(),
        "run_sync": draw.run_sync(TASK, timeout=60),
        "edit": edit.run_sync({"input": {"prompt": "make it blue", "image": picture}}, timeout=60),
        "cancel": cancel,
        "cancelled": cancelled.output(timeout=60),
        "stream": list(streamed.stream()),
        "health": sorted(draw.health()),
        "purge": draw.purge_queue(),
        "bad_parameter": problem(draw.run_sync, {**TASK, "size": "9*9"}),
        "bad_later": edit.run({"input": {"prompt": "a", "image": "/a.png"}}).output(timeout=60),
        "bad_endpoint": problem(runpod.Endpoint("nothing").run, TASK),
    }
    return {**found, "bad_key": problem(runpod.Endpoint("qwen-image-t2i", api_key="wrong").run, TASK)}


async def with_asyncio() -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        draw = AsyncEndpoint("qwen-image-t2i", session)
        job = await draw.run(TASK)
        output = await job.output(timeout=60)
        return {
            "run": output,
            "stream": [chunk async for chunk in job.stream()],
            "cancel": (await job.cancel())["status"],
            "health": sorted(await draw.health()),
            "purge": await draw.purge_queue(),
        }


def main(url: str, key: str, photo: str) -> dict[str, Any]:
    runpod.api_key, runpod.endpoint_url_base = key, f"{url}/v2"
    return {"sync": sync(photo), "asyncio": asyncio.run(with_asyncio())}


print(json.dumps(main(*sys.argv[1:])))
