"""The eight examples of the vendor's two model pages: their fields and values, our own prompts."""

import base64
import io
import json
import os
import uuid
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.live import LiveServer

EXAMPLES = sorted(Path(__file__).with_name("examples").glob("*.json"))
# Where to keep the pictures, for looking at them.
KEEP = os.environ.get("KEEP_PICTURES")


def photo() -> bytes:
    """Stands in for the vendor's hosted pictures: a street with a shop, as a camera would save it."""
    image = Image.new("RGB", (1200, 900), (168, 196, 222))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 640, 1200, 900), fill=(96, 94, 92))
    draw.rectangle((180, 180, 1020, 680), fill=(182, 142, 110), outline=(80, 60, 48), width=8)
    draw.rectangle((260, 340, 560, 640), fill=(60, 82, 96), outline=(240, 236, 226), width=10)
    draw.rectangle((700, 330, 880, 680), fill=(92, 44, 36), outline=(240, 236, 226), width=10)
    draw.rectangle((230, 210, 970, 310), fill=(32, 70, 52))
    draw.text((300, 225), "CORNER SHOP", fill=(246, 232, 190), font_size=64)
    noise = np.random.default_rng(5).normal(0, 6, (900, 1200, 3))
    image = Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype("uint8"))
    exif = Image.Exif()
    exif[0x010F] = "Test Camera"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if number == 4 else pytest.mark.slow) for number, path in enumerate(EXAMPLES)],
    ids=lambda path: path.stem,
)
def test_example(live: LiveServer, path: Path) -> None:
    """It is accepted as it is, and drawn in two steps."""
    (task,) = json.loads(path.read_text(encoding="utf-8"))
    if "referenceImages" in task:
        task["referenceImages"] = ["data:image/jpeg;base64," + base64.b64encode(photo()).decode()]
    plain = {name: value for name, value in task.items() if name != "referenceImages"}
    named = {"taskUUID": task["taskUUID"]}
    assert live.send(task | {"deliveryMethod": "async"}) == {"taskType": "imageInference"} | named
    live.send({"taskType": "cancelTask"} | named)
    (given,) = live.send({"taskType": "getTaskDetails"} | named)["request"]
    assert {name: given[name] for name in plain} == plain

    # To be looked at, a picture needs all its steps.
    drawn = task | {"taskUUID": str(uuid.uuid4()), "steps": task["steps"] if KEEP else 2}
    item = live.send(drawn)
    assert set(item) == {"taskType", "taskUUID", "imageUUID", "imageURL", "seed"}
    assert (item["taskUUID"], item["seed"]) == (drawn["taskUUID"], task["seed"])
    image = httpx2.get(item["imageURL"])
    assert image.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(image.content))
    assert picture.size == (task["width"], task["height"])
    assert np.asarray(picture).std() > 5
    if KEEP:
        Path(KEEP, f"{path.stem}.jpg").write_bytes(image.content)
    assert live.send({"taskType": "getTaskDetails", "taskUUID": drawn["taskUUID"]})["state"] == "done"
