"""Each prompt that the project shows gives the picture that it asks for, with the seed and the settings shown.

`test_commands` looks at the pictures of the commands that send tasks.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from pipelines.catalog.models_file import load_catalog
from server.api.runware.openapi import EXAMPLES
from server.process.greeting import example_task
from tests.docs.pages import PAGES, blocks, name_of, text_of
from tests.docs.prompts import (
    CHINESE,
    CIRCLE,
    DRAW,
    EDITS,
    FILES,
    REQUESTS,
    UUID,
    Seen,
    expected,
    seen_and_wanted,
    sending_commands,
    sent_by,
    shown_prompts,
    tasks_in,
)
from tests.live import LiveServer
from tests.server.conftest import new_task

CATALOG = load_catalog().with_embedded_weights()
MODELS = {entry.mode: entry.air for entry in CATALOG.entries}

# How an image travels says nothing about what it shows.
DELIVERY = {"deliveryMethod", "webhookURL", "uploadEndpoint"}


def shown_tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    """The imageInference tasks that can be sent as they are shown to a server with the embedded checkpoint."""
    found = [("/docs", task | {"model": MODELS.get(task.get("model", ""))}) for (task,) in EXAMPLES.values()]
    for page in PAGES:
        for code in (*blocks(page, "sh"), *blocks(page, "json")):
            if "imageInference" in code:
                found += [(name_of(page), task) for task in tasks_in(code)]
    found += [(name_of(file), task) for file in REQUESTS for task in json.loads(text_of(file))]
    for place, task in found:
        adapters = [*task.get("lora", ()), *task.get("controlNet", ())]
        served = all(CATALOG.find_lora(each["model"]) or CATALOG.find_controlnet(each["model"]) for each in adapters)
        if "positivePrompt" in task and served:
            yield place, {name: value for name, value in task.items() if name not in DELIVERY}


def as_text(task: dict[str, Any]) -> str:
    return json.dumps(task | {"taskUUID": UUID}, sort_keys=True)


SENT = {as_text(sent_by(command)) for page in PAGES for command in sending_commands(page)}
# The same task in several places is sent once. With a ControlNet, a command shows no more than that it runs: the page
# takes the edges of another picture.
TASKS = {as_text(task): place for place, task in shown_tasks() if as_text(task) not in SENT or task.get("controlNet")}


def picture_of(live: LiveServer, prompt: str, **settings: Any) -> tuple[Image.Image, str]:
    """The picture of a task, and its UUID."""
    item = live.send(new_task(**{"positivePrompt": prompt, "width": 512, "height": 512, "seed": 7} | settings))
    data = httpx2.get(f"{live.url}/image/{item['imageUUID']}.jpg").content
    return Image.open(io.BytesIO(data)), item["imageUUID"]


@pytest.fixture(scope="module")
def circle(live: LiveServer) -> tuple[Image.Image, str]:
    """The picture of the greeting's task, which instructions change, and its UUID."""
    task = example_task(CATALOG)
    assert (task["positivePrompt"], task["seed"]) == (CIRCLE, 7)
    return picture_of(live, task["positivePrompt"], **without(task, "positivePrompt", "taskUUID"))


def test_the_first_picture(circle: tuple[Image.Image, str]) -> None:
    assert Seen.read(circle[0]) == expected(CIRCLE)


@pytest.mark.slow
@pytest.mark.parametrize("text", TASKS, ids=list(TASKS.values()))
def test_a_task_as_it_is_shown(live: LiveServer, circle: tuple[Image.Image, str], text: str) -> None:
    task = json.loads(text)
    assert task["seed"] == 7
    input_uuid = edges_of(live, task["positivePrompt"]) if task.get("controlNet") else circle[1]
    task = json.loads(re.sub(r"IMAGE_UUID|<UUID, [^\"]*>", input_uuid, text))
    shown, _ = picture_of(live, task["positivePrompt"], **without(task, "positivePrompt", "taskUUID"))
    seen, wanted = seen_and_wanted(shown, task)
    assert seen == wanted


def edges_of(live: LiveServer, prompt: str) -> str:
    """The UUID of the control image of a prompt's picture."""
    control = {
        "taskType": "controlNetPreprocess",
        "inputImage": picture_of(live, prompt)[1],
        "preProcessorType": "canny",
    }
    cleared = dict.fromkeys(("model", "positivePrompt", "width", "height", "seed"))
    return live.send(new_task(**cleared | control))["guideImageUUID"]


def without(task: dict[str, Any], *names: str) -> dict[str, Any]:
    size = dict.fromkeys(("width", "height")) if "inputs" in task else {}
    return size | {name: value for name, value in task.items() if name not in names}


@pytest.mark.slow
@pytest.mark.parametrize("prompt", sorted(EDITS.keys() - {json.loads(text)["positivePrompt"] for text in TASKS}))
def test_any_other_instruction(live: LiveServer, circle: tuple[Image.Image, str], prompt: str) -> None:
    settings = {"model": MODELS["edit"], "width": None, "height": None}
    edited, _ = picture_of(live, prompt, **settings, inputs={"referenceImages": [circle[1]]})
    assert Seen.read(edited) == expected(prompt)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", CHINESE)
def test_a_prompt_in_chinese(live: LiveServer, prompt: str) -> None:
    assert Seen.read(picture_of(live, prompt)[0]) == expected(prompt)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prompt",
    sorted({prompt for file in FILES for prompt in shown_prompts(file) if DRAW.fullmatch(prompt)} - {CIRCLE}),
)
def test_any_other_prompt(live: LiveServer, prompt: str) -> None:
    assert Seen.read(picture_of(live, prompt)[0]) == expected(prompt)


@pytest.mark.parametrize("file", [file for file in FILES if "rompt" in text_of(file)], ids=name_of)
def test_every_prompt_is_one_of_those(file: Path) -> None:
    for prompt in shown_prompts(file):
        assert expected(prompt)


def test_the_places_are_found() -> None:
    """A pattern that matches nothing would test nothing."""
    places = {"/docs", "docs/how-to/drift.md", "docs/how-to/webhooks.md", "examples/requests/controlnet.json"}
    assert {place for place, _ in shown_tasks()} >= places
    shown = {prompt for file in FILES for prompt in shown_prompts(file)}
    assert shown >= {CIRCLE, *EDITS, *CHINESE}
