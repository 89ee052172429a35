"""OpenAI's own clients, each in an environment of its own; `make test-clients` sets those up."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripts import HERE, ROOT, run
from tests.live import API_KEY, LiveServer
from tests.server.api.openai_images.conftest import mask_png

PYTHON = ROOT / ".venv-openai" / "bin" / "python"
PNG, JPEG, WEBP = "89504e47", "ffd8ff", "52494646"

pytestmark = pytest.mark.clients


@pytest.fixture
def files(photo: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A picture, and a mask for it."""
    mask = tmp_path / "mask.png"
    mask.write_bytes(mask_png())
    return photo, mask


def check(found: dict[str, Any], live: LiveServer) -> None:
    """What both clients are asked for."""
    assert {"qwen-image", "gpt-image-1"} <= {*found["models"]}
    assert [image[:6] for image in found["generate"]] == [JPEG, JPEG]
    assert found["size"] == "128x128"
    assert found["stream"][-1] == "image_generation.completed"
    assert {*found["stream"][:-1]} <= {"image_generation.partial_image"}
    (url,) = found["url"]
    assert url.startswith(f"{live.url}/image/")
    assert found["edit"] == found["edit_several"] == [PNG]
    assert found["bad_size"] == [400, "invalid_size", "size"]
    assert found["bad_model"] == [404, "model_not_found", "model"]
    assert found["bad_key"] == [401, "invalid_api_key", "api_key"]


def test_the_python_client(live: LiveServer, files: tuple[Path, Path]) -> None:
    found = run(PYTHON, HERE / "openai_python.py", live.api, API_KEY, *files)
    check(found, live)
    assert found["edit_bytes"] == found["edit_url"] == found["lora"] == [PNG]
    assert found["edit_mask"] == [WEBP]
    assert found["asyncio"] == [PNG] * 3
    assert found["bad_image"] == [400, "invalid_image", "image"]
    assert (found["tokens"], found["task"]) == (0, 36)


def test_the_javascript_client(live: LiveServer, files: tuple[Path, Path]) -> None:
    found = run("node", HERE / "openai_js.mjs", live.api, API_KEY, *files)
    check(found, live)
    assert found["edit_mask"] == [PNG]
