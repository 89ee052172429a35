"""The requests and answers on the pages of the other vendors. Their hosted pictures are replaced by one of ours."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes import picture
from tests.live import API_KEY, LiveServer

HEADERS = {"Authorization": f"Bearer {API_KEY}"}
VENDORS = Path(__file__).with_name("vendors")
PICTURE, LARGE_PICTURE = (
    "data:image/png;base64," + base64.b64encode(picture(*size)).decode() for size in ((64, 48), (480, 400))
)
# What this server adds to a page's answer. The clients tolerate it.
ADDED = {"result", "executionTime"}


def example(name: str) -> dict[str, Any]:
    return json.loads((VENDORS / f"{name}.json").read_text(encoding="utf-8"))


def post(live: LiveServer, path: str, body: dict[str, Any]) -> httpx2.Response:
    return httpx2.post(live.url + path, json=body, headers=HEADERS, timeout=120)


def check_shape(found: Any, published: Any) -> None:
    """The same keys and kinds of values, at every depth."""
    if isinstance(published, dict):
        assert published.keys() <= found.keys() <= published.keys() | ADDED
        for name, value in published.items():
            check_shape(found[name], value)
    elif isinstance(published, float | int):
        assert isinstance(found, float | int)
    else:
        assert type(found) is type(published)


@pytest.mark.slow
def test_runpod(live: LiveServer) -> None:
    page = example("runpod")
    asked = page["request"]["input"]
    refused = post(live, page["path"], {"input": {**asked, "image": "https://localhost/fashion-photo.png"}})
    assert refused.status_code == 400
    check_shape(refused.json(), page["failure"])
    answer = post(live, page["path"], {"input": {**asked, "image": PICTURE, "num_inference_steps": 2}})
    assert answer.status_code == 200
    check_shape(answer.json(), page["response"])
    assert httpx2.get(answer.json()["output"]["image_url"]).headers["content-type"] == "image/png"


@pytest.mark.slow
def test_evolink(live: LiveServer) -> None:
    page = example("evolink")
    request = {**page["request"], "image_urls": [LARGE_PICTURE, "no picture"]}
    del request["callback_url"]  # the host of the page's example has no address here
    refused = post(live, page["path"], request)
    assert refused.status_code == 400
    check_shape(refused.json(), page["failure"])
    request |= {"image_urls": [LARGE_PICTURE] * 2, "num_inference_steps": 2}
    answer = post(live, page["path"], request)
    assert answer.status_code == 200
    check_shape(answer.json(), page["response"])
    assert answer.json()["status"] == "pending"
    url = f"{live.url}/v1/tasks/{answer.json()['id']}"
    while (found := httpx2.get(url, headers=HEADERS).json())["status"] in ("pending", "processing"):
        pass
    check_shape(found, page["response"] | {"results": []})
    assert (found["status"], found["progress"]) == ("completed", 100)
    assert httpx2.get(found["results"][0]).headers["content-type"] == "image/png"


def test_openai(live: LiveServer) -> None:
    page = example("openai")
    refused = post(live, page["path"], {**page["request"], "images": [{"image_url": "https://localhost/a.png"}]})
    assert refused.status_code == 400
    check_shape(refused.json(), page["failure"])
    request = {**page["request"], "images": [{"image_url": PICTURE}], "num_inference_steps": 2}
    answer = post(live, page["path"], request)
    assert answer.status_code == 200
    check_shape(answer.json(), page["response"])
    assert base64.b64decode(answer.json()["data"][0]["b64_json"]).startswith(b"\xff\xd8\xff")


@pytest.mark.slow
def test_wavespeed(live: LiveServer) -> None:
    page = example("wavespeed")
    incomplete = post(live, page["path"], page["request"])  # the page's own example leaves out what its table requires
    assert (incomplete.status_code, incomplete.json()["code"]) == (400, 400)
    request = {**page["request"], "prompt": "a red circle", "image": PICTURE, "num_inference_steps": 2}
    answer = post(live, page["path"], request)
    assert answer.status_code == 200
    check_shape(answer.json(), page["response"])
    assert answer.json()["data"]["status"] == page["response"]["data"]["status"]
    url = answer.json()["data"]["urls"]["get"]
    while (found := httpx2.get(url, headers=HEADERS).json())["data"]["status"] in ("created", "processing"):
        pass
    check_shape(found, page["response"])
    assert (found["data"]["status"], found["data"]["has_nsfw_contents"]) == ("completed", [False])
    assert httpx2.get(found["data"]["outputs"][0]).headers["content-type"] == "image/jpeg"
