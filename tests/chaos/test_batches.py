"""A folder of pictures of many formats is edited by a command that is killed twice on the way."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from PIL import Image

from ownware.batch.manifest import NAME
from ownware.receipt_files import read_source
from tests.live import server_environment
from tests.odd_images import shows_scene

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PICTURES = 40
WAIT_SECONDS = 300.0
EXTENSIONS = {"JPEG": "jpg", "TIFF": "tif", "HEIF": "heic"}
EDIT = ["edit", "in", "-p", "make it red", "-o", "out", "--compare"]
SMALL = ["--width", "128", "--height", "128", "--steps", "2", "--weights", "embedded", "--devices", "cpu"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty pictures: each format and oddity that the tests know, spread over two folders."""
    odd = list(shows_scene())
    for number, each in enumerate(odd[:: max(1, len(odd) // PICTURES)][:PICTURES]):
        path = tmp_path / "in" / ("sub" if number % 3 else ".") / f"{number:02d} {each.name.replace('/', ' ')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.data)
        with Image.open(path) as image:
            kind = image.format or ""
        path.rename(path.with_name(f"{path.name}.{EXTENSIONS.get(kind, kind.lower())}"))
    return tmp_path


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = server_environment(OWNWARE_DATA_DIR=str(folder / "data"))
    command = [sys.executable, "-m", "ownware", *EDIT, *SMALL]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(folder: Path) -> list[dict[str, object]]:
    """The whole lines of the manifest."""
    path = folder / "out" / NAME
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def kill_after(folder: Path, done: int) -> None:
    """Start the command, and kill it while it makes the next picture after `done` ones."""
    process = start(folder)
    wait_for(folder, process, done)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL


def wait_for(folder: Path, process: subprocess.Popen[bytes], done: int) -> None:
    """Wait until `done` pictures are done, and the next one has begun."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        found = rows(folder)
        if sum(row["state"] == "done" for row in found) >= done and found[-1]["state"] == "started":
            return
        assert process.poll() is None, "the command ended too early"
        time.sleep(0.005)
    raise AssertionError(f"{done} pictures were never done")


def drafts(folder: Path) -> list[Path]:
    return [path for path in (folder / "out").rglob(".*") if path.name != f".{NAME}.lock"]


def test_ctrl_c_ends_after_the_step_without_a_half_file(folder: Path) -> None:
    process = start(folder)
    wait_for(folder, process, 3)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    found = rows(folder)
    assert found[-1]["state"] in ("started", "done")
    written = {path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("*.*")}
    names = {name for row in found if row["state"] == "done" for name in cast("list[str]", row["outputs"])}
    assert names <= written <= {*names, NAME, f".{NAME}.lock", "compare.html"}
    assert drafts(folder) == []


def test_a_folder_that_is_killed_twice_is_complete_and_each_picture_is_made_once(folder: Path) -> None:
    sources = sorted(path for path in (folder / "in").rglob("*") if path.is_file())
    assert len(sources) == PICTURES
    kill_after(folder, 8)
    kill_after(folder, 22)
    last = start(folder)
    assert last.wait(WAIT_SECONDS) == 0
    found = rows(folder)
    done = [str(row["where"]) for row in found if row["state"] == "done"]
    assert sorted(done) == sorted(str(path.relative_to(folder)) for path in sources)
    begun = [row["where"] for row in found if row["state"] == "started"]
    assert PICTURES <= len(begun) <= PICTURES + 2  # one for each kill
    results = [path for path in (folder / "out").rglob("*") if path.suffix in (".png", ".jpg", ".webp")]
    assert {path.relative_to(folder / "out").with_suffix("") for path in results} == {
        path.relative_to(folder / "in").with_suffix("") for path in sources
    }
    assert len(results) == PICTURES
    for path in results:
        with Image.open(path) as image:
            image.load()
        assert read_source(str(path)).receipt.request.prompt == "make it red"
    assert drafts(folder) == []
    assert (folder / "out" / "compare.html").read_text().count("<figure>") == PICTURES
