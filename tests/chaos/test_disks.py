"""A disk that is full: what is refused, what is told, and that all goes on when space returns."""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.chaos.servers import KEY, ChaosServer, chaos_server

pytestmark = pytest.mark.chaos

DISK_MB = 24


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes. Needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Leave this many bytes of a disk free."""
    ballast = disk / "ballast"
    size = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - left
    ballast.write_bytes(bytes(max(size, 0)))
    yield
    ballast.unlink()


def whole(server: ChaosServer, item: dict[str, str]) -> bool:
    """Whether the picture of an answer can be fetched."""
    return httpx2.get(item["imageURL"]).content[:4] == b"\x89PNG"


def test_a_full_disk_is_refused_in_words_and_forgotten_when_space_returns(small_disk: Path) -> None:
    """It was an internal server error, and the server called itself ready."""
    with chaos_server(small_disk / "data", "--min-free-mb", "4") as server:
        assert whole(server, server.send(outputFormat="PNG"))
        with filled(small_disk, left=1_000_000):
            server.wait_ready(503)
            assert "disk of the data folder is full" in httpx2.get(f"{server.url}/readyz").json()["status"]
            assert server.send()["code"] == "insufficientStorage"
            upload = [{"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": "AAAA" * 1000}]
            refused = httpx2.post(f"{server.url}/v1", json=upload, headers=KEY)
            assert (refused.status_code, refused.json()["error"]["code"]) == (507, "insufficientStorage")
        server.wait_ready()
        assert whole(server, server.send(outputFormat="PNG"))
        assert server.terminate() == 0


def test_a_disk_that_fills_up_under_a_task_fails_it_as_that(small_disk: Path) -> None:
    """Every write may be the one that finds no space: of a row, of a picture, of an end."""
    with chaos_server(small_disk / "data", "--min-free-mb", "0") as server:
        assert whole(server, server.send(outputFormat="PNG"))
        codes = set()
        for left in (0, 4096, 65_536, 131_072, 262_144):
            with filled(small_disk, left):
                item = server.send(outputFormat="PNG", width=512, height=512)
                codes.add(item.get("code"))
                assert "imageURL" in item or item["code"] == "insufficientStorage", item
        assert "insufficientStorage" in codes
        server.wait_ready()
        assert whole(server, server.send(outputFormat="PNG"))
        drafts = list((small_disk / "data" / "media").rglob(".*"))
        assert drafts == []
        assert server.terminate() == 0
