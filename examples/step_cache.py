"""Render with a step cache and print how many steps it reused.

pip install runware-sdk
python examples/step_cache.py
"""

import asyncio
import os
import uuid
from typing import Any

from runware import Runware

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
API_KEY = os.environ.get("RUNWARE_API_KEY", "any")

TASK = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a large red circle at the center on a white background",
    "width": 512,
    "height": 512,
    "steps": 20,
    "seed": 7,
    "acceleratorOptions": {"fbCache": True, "fbCacheThreshold": 0.25},
}


async def main() -> None:
    """Print the URL, then the step cache's report from `getTaskDetails`."""
    server = {"http_base_url": f"{BASE_URL}/v1", "ws_base_url": f"{BASE_URL}/v1".replace("http", "ws", 1)}
    task_uuid = str(uuid.uuid4())
    async with Runware(api_key=API_KEY, **server) as runware:
        (image,) = await runware.run(TASK | {"taskUUID": task_uuid})
        (details,) = await runware.get_task_details({"taskUUID": task_uuid})
        (report,) = dict[str, Any](details)["cache"]
        print(image["imageURL"])
        print(f"{report['cache']} reused {report['reusedSteps']} of {report['steps']} steps")


asyncio.run(main())
