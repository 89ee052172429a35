"""Each prompt that the project shows gives the picture that it asks for, with the seed and the settings shown."""

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
from tests.docs.pages import PAGES, ROOT, blocks, name_of, text_of
from tests.docs.prompts import CHINESE, CIRCLE, DRAW, EDITS, FILES, Seen, expected, shown_prompts
from tests.live import API_KEY, LiveServer
from tests.server.conftest import new_task

CATALOG = load_catalog().with_embedded_weights()
MODELS = {entry.mode: entry.air for entry in CATALOG.entries}
UUID = "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10"


# How an image travels says nothing about what it shows.
DELIVERY = {"deliveryMethod", "webhookURL", "uploadEndpoint"}


def shown_tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    """The imageInference tasks that can be sent as they are shown to a server with the embedded checkpoint."""
    found = [("greeting", example_task(CATALOG))]
    found += [("/docs", task | {"model": MODELS.get(task.get("model", ""))}) for (task,) in EXAMPLES.values()]
    for page in PAGES:
        for code in (*blocks(page, "sh"), *blocks(page, "json")):
            if "imageInference" in code and (tasks := re.search(r"\[\s*\{.*\}\s*\]", code, re.DOTALL)):
                text = re.sub(r"'\$\([^)]*\)'", UUID, tasks[0])
                found += [(name_of(page), task) for task in json.loads(text)]
    for file in sorted((ROOT / "examples" / "requests").glob("*.json")):
        found += [(name_of(file), task) for task in json.loads(text_of(file))]
    for place, task in found:
        adapters = [*task.get("lora", ()), *task.get("controlNet", ())]
        served = all(CATALOG.find_lora(each["model"]) or CATALOG.find_controlnet(each["model"]) for each in adapters)
        if "positivePrompt" in task and served:
            yield place, {name: value for name, value in task.items() if name not in DELIVERY}


# The same task in several places is sent once.
TASKS = {json.dumps(task | {"taskUUID": UUID}, sort_keys=True): place for place, task in shown_tasks()}


def send(live: LiveServer, task: dict[str, Any]) -> dict[str, Any]:
    """The result item of a task."""
    header = {"Authorization": f"Bearer {API_KEY}"}
    response = httpx2.post(live.api, json=[new_task(**task)], headers=header, timeout=60).json()
    assert "errors" not in response, response["errors"]
    return response["data"][0]


def picture_of(live: LiveServer, prompt: str, **settings: Any) -> tuple[Image.Image, str]:
    """The picture of a task, and its UUID."""
    item = send(live, {"positivePrompt": prompt, "width": 512, "height": 512, "seed": 7} | settings)
    data = httpx2.get(f"{live.url}/image/{item['imageUUID']}.jpg").content
    return Image.open(io.BytesIO(data)), item["imageUUID"]


def edited(live: LiveServer, prompt: str) -> Image.Image:
    """The picture of the circle after an instruction."""
    settings = {"model": MODELS["edit"], "width": None, "height": None}
    return picture_of(live, prompt, **settings, inputs={"referenceImages": [picture_of(live, CIRCLE)[1]]})[0]


def test_the_first_picture(live: LiveServer) -> None:
    assert Seen.read(picture_of(live, CIRCLE)[0]) == expected(CIRCLE)


@pytest.mark.slow
@pytest.mark.parametrize("text", TASKS, ids=list(TASKS.values()))
def test_a_task_as_it_is_shown(live: LiveServer, text: str) -> None:
    task = json.loads(text)
    assert task["seed"] == 7
    picture = task["positivePrompt"] if task.get("controlNet") else CIRCLE
    input_uuid = picture_of(live, picture)[1]
    if task.get("controlNet"):
        control = {"taskType": "controlNetPreprocess", "inputImage": input_uuid, "preProcessorType": "canny"}
        cleared = dict.fromkeys(("model", "positivePrompt", "width", "height", "seed"))
        input_uuid = send(live, cleared | control)["guideImageUUID"]
    text = re.sub(r"IMAGE_UUID|<UUID, [^\"]*>", input_uuid, text)
    shown, _ = picture_of(live, **({"prompt": task["positivePrompt"]} | without(json.loads(text), "taskUUID")))
    seen, wanted = Seen.read(shown), expected(task["positivePrompt"])
    if task.get("lora"):  # an outline is no shape that the training knows
        (thing,) = seen.things
        seen, wanted = Seen(seen.background, ((None, thing[1], "", thing[3]),)), outline_of(wanted)
    assert seen == wanted


def without(task: dict[str, Any], *names: str) -> dict[str, Any]:
    size = dict.fromkeys(("width", "height")) if "inputs" in task else {}
    return size | {name: value for name, value in task.items() if name not in names}


def outline_of(seen: Seen) -> Seen:
    ((_, colour, _, place),) = seen.things
    return Seen(seen.background, ((None, colour, "", place),))


@pytest.mark.slow
@pytest.mark.parametrize("prompt", EDITS)
def test_an_instruction(live: LiveServer, prompt: str) -> None:
    assert Seen.read(edited(live, prompt)) == expected(prompt)


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
    assert {"greeting", "/docs", "README.md", "docs/tutorials/edit-a-picture.md", "docs/how-to/clients.md"} <= {
        place for place, _ in shown_tasks()
    }
    shown = {prompt for file in FILES for prompt in shown_prompts(file)}
    assert shown >= {CIRCLE, *EDITS, *CHINESE}
