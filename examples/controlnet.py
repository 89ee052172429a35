"""Make a control image from a picture, then render with a ControlNet.

pip install runware-sdk
python examples/controlnet.py
"""

import asyncio
import os

from runware import Runware

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
API_KEY = os.environ.get("RUNWARE_API_KEY", "any")

TASK = {"taskType": "imageInference", "model": "runware:108@1", "width": 512, "height": 512, "seed": 7}
SOURCE = "a large blue square at the top left on a yellow background"
PROMPT = "a large green square at the top left on a white background"


async def main() -> None:
    """Print three URLs: the source, its Canny edges, and the new picture."""
    server = {"http_base_url": f"{BASE_URL}/v1", "ws_base_url": f"{BASE_URL}/v1".replace("http", "ws", 1)}
    async with Runware(api_key=API_KEY, **server) as runware:
        (source,) = await runware.run(TASK | {"positivePrompt": SOURCE})
        (control,) = await runware.run(
            {
                "taskType": "controlNetPreprocess",
                "inputImage": source["imageUUID"],
                "preProcessorType": "canny",
                "outputFormat": "PNG",
            }
        )
        net = {"model": "edges", "guideImage": control["guideImageUUID"], "weight": 1}
        (image,) = await runware.run(TASK | {"positivePrompt": PROMPT, "controlNet": [net]})
        print(source["imageURL"])
        print(control["guideImageURL"])
        print(image["imageURL"])


asyncio.run(main())
