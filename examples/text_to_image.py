"""Render a picture from a prompt and print its URL.

pip install runware-sdk
python examples/text_to_image.py
"""

import asyncio
import os

from runware import Runware

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
API_KEY = os.environ.get("RUNWARE_API_KEY", "any")

TASK = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a large red circle at the center on a white background",
    "width": 512,
    "height": 512,
    "seed": 7,
}


async def main() -> None:
    """Connect, send one task, print the result. The SDK makes a fresh task UUID."""
    server = {"http_base_url": f"{BASE_URL}/v1", "ws_base_url": f"{BASE_URL}/v1".replace("http", "ws", 1)}
    async with Runware(api_key=API_KEY, **server) as runware:
        for image in await runware.run(TASK):
            print(image["imageURL"])


asyncio.run(main())
