import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.catalog.hub.cache import local_folder, repository_folder
from pipelines.catalog.hub.download import fetch_folder
from pipelines.catalog.hub.errors import HubError
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.sample import FILES, FIRST, NAME


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_broken_connection_is_continued_inside_the_file(hub: FakeHub) -> None:
    hub.breaks, hub.break_after = {FIRST: 2}, 2**20
    folder = fetch_folder(NAME)
    assert (folder / FIRST).read_bytes() == FILES[FIRST]
    ranges = [request.rpartition(" ")[2] for request in hub.requests if FIRST in request]
    assert ranges == ["bytes=0-", f"bytes={2**20}-", f"bytes={2**21}-"]


def test_a_connection_that_stays_broken_ends_and_the_next_call_goes_on(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.catalog.hub.transfer._TRIES", 1)
    hub.breaks, hub.break_after = {FIRST: 2}, 0
    with pytest.raises(HubError, match=r"model-00001.* broke off at 0\.00 of 0\.00 GB .*the same command goes on"):
        fetch_folder(NAME)
    assert local_folder(NAME) is None
    assert not (repository_folder(NAME) / "refs").exists()
    hub.breaks = {}
    assert contents(fetch_folder(NAME))[FIRST] == FILES[FIRST]


@pytest.mark.slow
def test_a_killed_download_goes_on_inside_the_file_in_another_process(hub: FakeHub, tmp_path: Path) -> None:
    hub.stalls = {FIRST: 2**20 + 1}
    code = f"from pipelines.catalog.hub.download import fetch_folder; fetch_folder({NAME!r})"
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub")}
    draft = repository_folder(NAME) / "blobs" / f"{hashlib.sha256(FILES[FIRST]).hexdigest()}.incomplete"
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            while not draft.is_file() or draft.stat().st_size < 2**20:
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.kill()
    assert local_folder(NAME) is None
    hub.stalls, hub.requests = {}, []
    assert (fetch_folder(NAME) / FIRST).read_bytes() == FILES[FIRST]
    (asked,) = [request for request in hub.requests if FIRST in request]
    assert asked.endswith(f"bytes={2**20}-")


def test_a_server_without_ranges_sends_the_file_again(hub: FakeHub) -> None:
    hub.breaks, hub.break_after, hub.ranges = {FIRST: 1}, 2**20, False
    assert (fetch_folder(NAME) / FIRST).read_bytes() == FILES[FIRST]


@pytest.mark.parametrize("name", [FIRST, "vae/config.json"])
def test_a_damaged_file_is_deleted_and_the_model_is_not_here(hub: FakeHub, name: str) -> None:
    hub.corrupt = {name}
    with pytest.raises(HubError, match=rf"{name} of {NAME} arrived damaged, with another checksum"):
        fetch_folder(NAME)
    assert local_folder(NAME) is None
    hub.corrupt = set()
    assert contents(fetch_folder(NAME))[name] == FILES[name]
