"""`ownware models pull` in a process of its own, as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub import serve_hub
from tests.pipelines.catalog.hub.sample import FILES, FIRST, NAME


def pull(url: str, cache: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"HF_ENDPOINT": url, "HF_HUB_CACHE": str(cache)}
    command = [sys.executable, "-m", "ownware", "models", "pull", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_a_pull_survives_a_broken_connection_and_a_second_one_finds_all(tmp_path: Path) -> None:
    with serve_hub({NAME: dict(FILES)}) as hub:
        hub.breaks, hub.break_after = {FIRST: 1}, 2**20
        done = pull(hub.url, tmp_path, NAME)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        assert (folder / FIRST).read_bytes() == FILES[FIRST]
        assert "the connection broke off: going on" in done.stderr
        assert f"{NAME}: 8 files, 6.0 MB" in done.stderr
        transferred = sum("resolve" in request for request in hub.requests)
        assert pull(hub.url, tmp_path, NAME).stdout == done.stdout
        assert sum("resolve" in request for request in hub.requests) == transferred


@pytest.mark.slow
def test_mistakes_are_one_line(tmp_path: Path) -> None:
    done = pull("http://127.0.0.1:9", tmp_path, "owner/model")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("ownware: owner/model is not wholly here, and the hub http://127.0.0.1:9 cannot be")
    assert list(tmp_path.rglob("*.safetensors")) == []
