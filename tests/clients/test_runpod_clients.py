"""RunPod's own clients, each in an environment of its own; `make test-clients` sets those up."""

from pathlib import Path

import pytest

from tests.clients.scripts import HERE, ROOT, run
from tests.live import API_KEY, LiveServer

PYTHON = ROOT / ".venv-runpod" / "bin" / "python"
HEALTH = ["jobs", "workers"]
PURGED = {"removed": 0, "status": "completed"}

pytestmark = pytest.mark.clients


def test_the_python_sdk(live: LiveServer, photo: Path) -> None:
    found = run(PYTHON, HERE / "runpod_python.py", live.url, API_KEY, photo)
    sync, in_asyncio = found["sync"], found["asyncio"]
    for output in (sync["run"], sync["run_sync"], sync["edit"], *sync["stream"], in_asyncio["run"]):
        assert output["image_url"] == output["result"]
        assert output["image_url"].startswith(f"{live.url}/image/")
    assert len(sync["stream"]) == len(in_asyncio["stream"]) == 1
    assert (sync["status"], sync["cancel"], sync["cancelled"]) == ("COMPLETED", "CANCELLED", None)
    assert in_asyncio["cancel"] == "COMPLETED"
    assert sync["health"] == in_asyncio["health"] == HEALTH
    assert sync["purge"] == in_asyncio["purge"] == PURGED
    assert "400" in sync["bad_parameter"]
    assert sync["bad_later"] is None
    assert "404" in sync["bad_endpoint"]
    assert "401" in sync["bad_key"]


def test_the_javascript_sdk(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "runpod_js.mjs", live.url, API_KEY, photo)
    assert found["runSync"]["succeeded"]
    assert found["edit"]["succeeded"]
    assert [chunk["output"]["cost"] for chunk in found["stream"]] == [0]
    assert (found["status"]["status"], found["cancel"]["status"]) == ("COMPLETED", "CANCELLED")
    assert found["statusSync"]["status"] == "CANCELLED"
    assert (found["health"], found["purge"]) == (HEALTH, PURGED)
    assert "400" in found["bad_parameter"]
    assert "401" in found["bad_key"]


def test_the_ai_sdk_provider(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "runpod_ai_sdk.mjs", live.url, API_KEY, photo)
    assert found["text_to_image"] == found["edit"] == ["image/jpeg"]
    assert "'seed'" in found["bad_parameter"]
    assert found["bad_key"] != "no error"
