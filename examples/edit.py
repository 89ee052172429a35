"""Edit a picture: a file of yours, or a picture that this program renders first.

pip install runware-sdk
python examples/edit.py [photo.jpg]
"""

import asyncio
import os
import sys

from runware import Runware, file_to_data_uri

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
API_KEY = os.environ.get("RUNWARE_API_KEY", "any")

GENERATE = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a large red circle at the center on a white background",
    "width": 512,
    "height": 512,
    "seed": 7,
}
EDIT = {
    "taskType": "imageInference",
    "model": "runware:108@20",
    "positivePrompt": "make the large red circle blue",
    "seed": 7,
}


async def main() -> None:
    """Print the URL of each picture. An edit keeps the aspect of its reference image."""
    server = {"http_base_url": f"{BASE_URL}/v1", "ws_base_url": f"{BASE_URL}/v1".replace("http", "ws", 1)}
    async with Runware(api_key=API_KEY, **server) as runware:
        if len(sys.argv) > 1:
            reference = file_to_data_uri(sys.argv[1])
        else:
            (image,) = await runware.run(GENERATE)
            print(image["imageURL"])
            reference = image["imageUUID"]
        (edited,) = await runware.run(EDIT | {"inputs": {"referenceImages": [reference]}})
        print(edited["imageURL"])


asyncio.run(main())
