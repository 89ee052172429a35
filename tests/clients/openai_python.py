"""OpenAI's Python client, unmodified. Prints one JSON object: what each scenario came to.

Runs in an environment of its own. Imports nothing of ours.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

EXTRA = {"seed": 3, "num_inference_steps": 4}


def bytes_of(response: Any) -> list[str]:
    """The first bytes of each image, in hexadecimal."""
    return [base64.b64decode(item.b64_json)[:4].hex() for item in response.data]


def problem(call: Callable[[], Any]) -> list[Any]:
    try:
        call()
    except openai.APIStatusError as error:
        return [error.status_code, error.code, error.param]
    return []


def sync(base_url: str, key: str, photo: str, mask: str) -> dict[str, Any]:
    client = OpenAI(base_url=base_url, api_key=key)
    images = client.images

    def generate(**changes: Any) -> Any:
        fields = {"prompt": "a red circle", "size": "128x128", "extra_body": EXTRA, **changes}
        return images.generate(**fields)

    def edit(**changes: Any) -> Any:
        fields = {"image": Path(photo), "prompt": "make it blue", "size": "128x128", "extra_body": EXTRA, **changes}
        return images.edit(**fields)

    data_uri = "data:image/png;base64," + base64.b64encode(Path(photo).read_bytes()).decode()
    first = generate(model="gpt-image-1", n=2, output_format="jpeg", quality="auto", background="auto")
    events = list(generate(stream=True, partial_images=1, extra_body={**EXTRA, "num_inference_steps": 20}))
    return {
        "stream": [event.type for event in events if event.b64_json],
        "models": [model.id for model in client.models.list()],
        "generate": bytes_of(first),
        "size": first.size,
        "tokens": first.usage.total_tokens,
        "url": [item.url for item in generate(response_format="url").data],
        "edit": bytes_of(edit()),
        "edit_bytes": bytes_of(edit(image=Path(photo).read_bytes())),
        "edit_several": bytes_of(edit(image=[Path(photo), Path(photo)], model="gpt-image-1")),
        "edit_mask": bytes_of(edit(mask=Path(mask), output_format="webp")),
        "edit_url": bytes_of(edit(image=[], extra_body={**EXTRA, "url": [data_uri]})),
        "lora": bytes_of(generate(extra_body={**EXTRA, "loras": ["outlines"], "cache": "fbcache"})),
        "bad_size": problem(lambda: generate(size="1x1")),
        "bad_model": problem(lambda: generate(model="dall-e-9")),
        "bad_image": problem(lambda: edit(image=b"no image")),
        "bad_key": problem(lambda: OpenAI(base_url=base_url, api_key="wrong").images.generate(prompt="a")),
        "task": len(
            images.with_raw_response.generate(prompt="a", size="128x128", extra_body=EXTRA).headers["x-request-id"]
        ),
    }


async def in_asyncio(base_url: str, key: str) -> list[str]:
    client = AsyncOpenAI(base_url=base_url, api_key=key)
    calls = [client.images.generate(prompt="a red circle", size="128x128", extra_body=EXTRA) for _ in range(3)]
    return [first for response in await asyncio.gather(*calls) for first in bytes_of(response)]


arguments = sys.argv[1:]
print(json.dumps({**sync(*arguments), "asyncio": asyncio.run(in_asyncio(*arguments[:2]))}))
