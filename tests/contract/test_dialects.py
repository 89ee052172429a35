"""One edit through every dialect, with the same seed: the same pixels."""

import base64
import io
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from server.options.access import DIALECTS
from tests.fakes import picture
from tests.live import API_KEY, LiveServer

PROMPT, SEED, STEPS = "make the red rectangle blue", 7, 2
PHOTO = "data:image/png;base64," + base64.b64encode(picture(480, 400)).decode()
Json = dict[str, Any]
Post = Callable[[str, Any], Any]


def runware(post: Post, get: Callable[[str], Any]) -> str:
    task = {"taskType": "imageInference", "taskUUID": str(uuid.uuid4()), "model": "runware:108@20", "steps": STEPS}
    inputs = {"referenceImages": [PHOTO]}
    (item,) = post("/v1", [task | {"positivePrompt": PROMPT, "seed": SEED, "inputs": inputs, "outputFormat": "PNG"}])[
        "data"
    ]
    return item["imageURL"]


def openai(post: Post, get: Callable[[str], Any]) -> str:
    body = {"model": "gpt-image-1", "prompt": PROMPT, "seed": SEED, "num_inference_steps": STEPS, "image": PHOTO}
    return post("/v1/images/edits", body | {"response_format": "url"})["data"][0]["url"]


def evolink(post: Post, get: Callable[[str], Any]) -> str:
    body = {"model": "qwen-image-edit", "prompt": PROMPT, "seed": SEED, "num_inference_steps": STEPS}
    task = post("/v1/images/generations", body | {"image_urls": [PHOTO]})
    while task["status"] in ("pending", "processing"):
        task = get(f"/v1/tasks/{task['id']}")
    return task["results"][0]


def wavespeed(post: Post, get: Callable[[str], Any]) -> str:
    body = {"prompt": PROMPT, "seed": SEED, "num_inference_steps": STEPS, "image": PHOTO, "output_format": "png"}
    reply = post("/api/v3/wavespeed-ai/qwen-image/edit", body | {"enable_sync_mode": True})
    return reply["data"]["outputs"][0]


def runpod(post: Post, get: Callable[[str], Any]) -> str:
    fields = {"prompt": PROMPT, "seed": SEED, "num_inference_steps": STEPS, "image": PHOTO, "output_format": "png"}
    return post("/v2/qwen-image-edit/runsync", {"input": fields})["output"]["image_url"]


pytestmark = pytest.mark.slow

CALLS = {call.__name__: call for call in (runware, evolink, openai, wavespeed, runpod)}


@pytest.fixture(scope="module")
def drawn(live: LiveServer) -> dict[str, np.ndarray]:
    """The pixels of the edit, by the dialect."""
    with httpx2.Client(base_url=live.url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=120) as client:

        def post(path: str, body: Any) -> Any:
            response = client.post(path, json=body)
            assert response.status_code == 200, response.text
            return response.json()

        def get(path: str) -> Any:
            return client.get(path).json()

        images = {name: client.get(call(post, get)).content for name, call in CALLS.items()}
    return {name: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for name, data in images.items()}


def test_every_dialect_is_asked() -> None:
    assert tuple(CALLS) == DIALECTS


@pytest.mark.parametrize("name", DIALECTS)
def test_the_pixels_are_the_same(drawn: dict[str, np.ndarray], name: str) -> None:
    assert drawn[name].std() > 5
    assert np.array_equal(drawn[name], drawn["runware"])
