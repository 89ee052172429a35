"""The vendor's three other clients, each in an environment of its own; `make test-clients` sets those up."""

from pathlib import Path

import pytest

from tests.clients.scripts import HERE, ROOT, run
from tests.live import API_KEY, LiveServer

LEGACY_PYTHON = ROOT / ".venv-legacy" / "bin" / "python"

pytestmark = pytest.mark.clients


def test_legacy_python_sdk(live: LiveServer, photo: Path) -> None:
    found = run(LEGACY_PYTHON, HERE / "legacy_client.py", live.socket, API_KEY, photo)
    assert found["text_to_image"] == found["edit_from_a_local_file"] == [3]
    assert found["two_results"] == found["async"] == [3, 4]
    assert "'width'" in found["bad_parameter"]
    assert found["bad_key"] != "no error"


def test_javascript_sdk(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "sdk_js.mjs", live.socket, API_KEY, photo)
    assert found["text_to_image"] == found["edit_from_a_local_file"] == found["async"] == [3]
    assert found["two_results"] == [3, 4]
    assert found["guide"] == "success"  # it sends the task as async, and polls
    assert found["bad_parameter"].startswith("invalidWidth: ")
    assert "Invalid API key" in found["bad_key"]


def test_ai_sdk_provider(live: LiveServer, photo: Path) -> None:
    found = run("node", HERE / "ai_sdk.mjs", live.api, API_KEY, photo)
    assert found["text_to_image"] == found["edit_from_a_local_file"] == ["image/png"]
    assert found["two_results"] == ["image/png"] * 2
    assert "invalidWidth" in found["bad_parameter"]
    assert "invalidApiKey" in found["bad_key"]
