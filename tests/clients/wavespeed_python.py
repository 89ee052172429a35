"""WaveSpeed's Python SDK, unmodified, in its current or its older version. Prints what each scenario came to, as JSON.

Runs in an environment of its own. Imports nothing of ours.
"""

import inspect
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from wavespeed import Client

DRAW, EDIT = "wavespeed-ai/qwen-image/text-to-image", "wavespeed-ai/qwen-image/edit"
TASK = {"prompt": "a red circle", "size": "128*128", "seed": 3, "num_inference_steps": 4}


def types(result: dict[str, Any]) -> list[str]:
    """The media types of the outputs, which are downloaded."""
    return [urllib.request.urlopen(output).headers["content-type"] for output in result["outputs"]]


def supported(**options: Any) -> dict[str, Any]:
    """The options that this version has."""
    return {name: value for name, value in options.items() if name in inspect.signature(Client.run).parameters}


def problem(client: Client, model: str, task: dict[str, Any]) -> str:
    try:
        client.run(model, task, poll_interval=0.1, **supported(max_retries=1))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def main(url: str, key: str, photo: str) -> dict[str, Any]:
    client = Client(key, base_url=url)
    uploaded = client.upload(photo)
    with Path(photo).open("rb") as stream:
        streamed = client.upload(stream)
    edit = {"prompt": "make it blue", "seed": 3, "num_inference_steps": 4, "output_format": "png"}
    return {
        "text_to_image": types(client.run(DRAW, TASK, poll_interval=0.1)),
        "sync_mode": types(client.run(DRAW, TASK, **supported(enable_sync_mode=True))),
        "sync_in_the_input": types(client.run(DRAW, {**TASK, "enable_sync_mode": True}, poll_interval=0.1)),
        "edit_of_an_upload": types(client.run(EDIT, {**edit, "image": uploaded}, poll_interval=0.1)),
        "edit_of_a_stream": types(client.run(EDIT, {**edit, "images": [streamed]}, poll_interval=0.1)),
        "base64": client.run(DRAW, {**TASK, "enable_base64_output": True}, poll_interval=0.1)["outputs"][0][:22],
        "bad_parameter": problem(client, DRAW, {**TASK, "size": "9*9"}),
        "bad_picture": problem(client, EDIT, {**edit, "image": "http://127.0.0.1:9/a.png"}),
        "bad_model": problem(client, "wavespeed-ai/nothing", TASK),
        "bad_key": problem(Client("wrong", base_url=url), DRAW, TASK),
    }


print(json.dumps(main(*sys.argv[1:])))
