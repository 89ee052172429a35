"""Every parameter of the vendor's two model pages: the schema has it with the page's bounds, and a task may have it.

`tests/contract/vendors/runware.json` has the parameters of each page.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from server.api.runware.schema.tasks import ImageInference
from server.app import create_app
from server.extras import DETECTOR, is_installed
from server.settings import Settings
from tests.fakes import FakeWorker, picture
from tests.receivers import Receiver
from tests.server.conftest import new_task, post

PAGES = json.loads((Path(__file__).parents[3] / "contract/vendors/runware.json").read_text(encoding="utf-8"))
PICTURE = "data:image/png;base64," + base64.b64encode(picture(128, 128)).decode()
HAS_DETECTOR = is_installed(DETECTOR)
BOUNDS = ("minimum", "maximum", "multipleOf", "minLength", "maxLength")
LORA, NET = Adapter("local:ink@1", "Ink", "/loras/ink"), Adapter("ownware:union@1", "Union", "/nets/union")
# The largest seed of the pages is 2^63 as a double rounds it. It is taken, as the largest one that there is.
ROUNDED = {("seed", "maximum")}
SIDES = {"left": "width", "right": "width", "top": "height", "bottom": "height"}


@pytest.fixture
def catalog() -> Catalog:
    return replace(load_catalog().with_embedded_weights(), loras=(LORA,), controlnets=(NET,))


@pytest.fixture
def client(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Iterator[TestClient]:
    changes = {"face_refinement": True, "allow_private_urls": True}
    app = create_app(settings.model_copy(update=changes), catalog, [worker])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False) as test_client:
        yield test_client


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a task: it takes a fifth of a second."""
    return ImageInference.model_json_schema()


def property_at(path: str) -> dict[str, Any]:
    """The JSON schema of a parameter: what it is when it is given."""
    found: dict[str, Any] = schema()
    for name in path.split("."):
        found = _given(found["properties"][name])
    return found


def _given(found: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in found:
        kinds = [one for one in found["anyOf"] if one != {"type": "null"}]
        found = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if found.get("type") == "array" and "$ref" in found["items"]:
        found = found["items"]
    return schema()["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def task_with(model: str, path: str, page: dict[str, Any], there: Receiver) -> dict[str, Any]:
    """A task with one parameter of a page, and what that needs."""
    inputs: dict[str, Any] = {"referenceImages": [PICTURE]} if model.endswith("@20") else {}
    task: dict[str, Any] = {"model": model, "steps": 8}
    outer, _, name = path.rpartition(".")
    if path in ("inputs.seedImage", "inputs.maskImage", "inputs.strength", "maskMargin") or outer == "outpaint":
        inputs["seedImage"] = PICTURE
    if path in ("inputs.maskImage", "maskMargin"):
        inputs["maskImage"] = PICTURE
    if outer == "outpaint":
        task[SIDES[name]] = 128 + 16
    if inputs:
        task["inputs"] = inputs
    value = model if path == "model" else _value(path, page, there)
    match outer.split("."):
        case [""]:
            task[path] = value
        case ["lora"]:
            task["lora"] = [{"model": LORA.air, name: value}]
        case ["controlNet"]:
            task["controlNet"] = [{"model": NET.air, "guideImage": PICTURE, name: value}]
        case ["advancedFeatures", inner]:
            task["advancedFeatures"] = {inner: {name: value}}
        case [inner]:
            task[inner] = task.get(inner, {}) | {name: value}
    return new_task(**{key: given for key, given in task.items() if key not in ("taskType", "taskUUID")})


def _value(path: str, page: dict[str, Any], there: Receiver) -> Any:
    known = {"lora.model": LORA.air, "controlNet.model": NET.air, "scheduler": "DPM++ 2M Karras"}
    if path in known:
        return known[path]
    if path in ("webhookURL", "uploadEndpoint"):
        return f"{there.url}/{path}"
    if path == "inputs.referenceImages":
        return [PICTURE]
    if path.startswith("outpaint."):
        return 16
    if path.startswith("inputs.") or path.endswith("guideImage"):
        return page.get("default", PICTURE)
    fallback = {"boolean": True, "string": "a red circle", "number": 1.5, "integer": page.get("minimum", 1)}
    value = fallback[page["type"]]
    return value if page["type"] == "boolean" else page.get("default", page.get("minimum", value))


@pytest.mark.parametrize("model", PAGES)
def test_the_schema_has_the_bounds_of_the_page(model: str) -> None:
    for path, page in PAGES[model].items():
        found = property_at(path)
        assert found.get("type", "string") == page["type"] or "const" in found, path
        if path == "inputs.referenceImages":
            continue
        for bound in BOUNDS:
            if bound in page and (path, bound) not in ROUNDED:
                assert found.get(bound) == page[bound], (path, bound)


@pytest.mark.parametrize("model", PAGES)
def test_no_task_is_refused_for_a_parameter_of_the_page(client: TestClient, there: Receiver, model: str) -> None:
    pages = {path: page for path, page in PAGES[model].items() if not path.startswith("safety.") or HAS_DETECTOR}
    tasks = [task_with(model, path, page, there) for path, page in pages.items()]
    answer = post(client, *tasks).json()
    assert "errors" not in answer
    assert {item["taskUUID"] for item in answer["data"]} >= {task["taskUUID"] for task in tasks}


def test_every_parameter_of_the_schema_is_on_a_page_or_ours() -> None:
    documented = {path for page in PAGES.values() for path in page}

    def leaves(found: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for name, inner in found["properties"].items():
            inner = _given(inner)
            if "properties" in inner:
                yield from leaves(inner, f"{prefix}{name}.")
            else:
                yield prefix + name

    others = {path for path in leaves(schema()) if path not in documented}
    assert {path for path in others if not path.startswith("ownware.")} == {"outpaint.blur"}
