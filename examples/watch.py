"""Watch a picture come: python examples/watch.py

The server's address is read from BASE_URL, and the key from RUNWARE_API_KEY. With `--cancel`, it is stopped half-way.
"""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
HEADERS = {"Authorization": "Bearer " + os.environ.get("RUNWARE_API_KEY", "any"), "Content-Type": "application/json"}
TASK = {
    "taskType": "imageInference",
    "taskUUID": str(uuid.uuid4()),
    "deliveryMethod": "async",
    "model": "runware:108@1",
    "positivePrompt": "a large red circle at the center on a white background",
    "width": 512,
    "height": 512,
    "steps": 50,
    "seed": 7,
}


def events(task_uuid: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and data of each event, up to the end."""
    with urlopen(Request(f"{BASE_URL}/v1/tasks/{task_uuid}/events", headers=HEADERS)) as stream:
        name = ""
        for line in stream:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)


with urlopen(Request(f"{BASE_URL}/v1", json.dumps([TASK]).encode(), HEADERS)) as response:
    response.read()
for event, data in events(TASK["taskUUID"]):
    shown = {name: value for name, value in data.items() if name != "imageDataURI"}
    print(event, json.dumps(shown), flush=True)
    if event == "step" and 2 * data["step"] >= data["steps"] and "--cancel" in sys.argv:
        cancel = Request(f"{BASE_URL}/v1/tasks/{TASK['taskUUID']}", headers=HEADERS, method="DELETE")
        with urlopen(cancel) as response:
            response.read()
