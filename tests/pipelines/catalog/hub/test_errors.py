import errno
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipelines.catalog.hub import download as module
from pipelines.catalog.hub.download import fetch_folder
from pipelines.catalog.hub.errors import HubError
from tests.hub import FakeHub, use_hub
from tests.pipelines.catalog.hub.sample import NAME


def test_no_such_repository(hub: FakeHub) -> None:
    with pytest.raises(HubError, match=rf"^the hub {hub.url} has no repository owner/other, or it is private"):
        fetch_folder("owner/other")


def test_gated(hub: FakeHub) -> None:
    hub.gated = True
    with pytest.raises(
        HubError, match=rf"^{NAME} is gated: accept its conditions at {hub.url}/{NAME}, and set HF_TOKEN"
    ):
        fetch_folder(NAME)


def test_a_hub_that_fails(hub: FakeHub) -> None:
    hub.status = 500
    with pytest.raises(HubError, match=rf"^the hub {hub.url} answers 500 for {NAME}: try again later"):
        fetch_folder(NAME)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_mirror_that_says_no_more_than_its_status(hub: FakeHub, status: int) -> None:
    hub.status = status
    with pytest.raises(HubError, match=rf"^the hub {hub.url} has no repository {NAME}, or it is private and HF_TOKEN"):
        fetch_folder(NAME)


def test_a_hub_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "hub")
    with pytest.raises(HubError, match=rf"^{NAME} is not wholly here, and the hub http://127\.0\.0\.1:9 cannot be"):
        fetch_folder(NAME)


def test_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=rf"^{NAME} is not wholly here, and HF_HUB_OFFLINE=1 forbids its download$"):
        fetch_folder(NAME)
    assert not hub.requests


def test_a_disk_that_fills_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "transfer", full)
    with pytest.raises(HubError, match=rf"^the disk of .* is full, and {NAME} is not wholly here: free some"):
        fetch_folder(NAME)
