"""Every example runs as it is, and its pictures show what it asks for."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.live import API_KEY, LiveServer

EXAMPLES = ROOT / "examples"
RED, BLUE, GREEN, WHITE, YELLOW = (220, 40, 40), (35, 85, 205), (30, 150, 60), (252, 252, 252), (250, 215, 50)


def run(live: LiveServer, *command: str | Path, cwd: Path = ROOT) -> str:
    """What an example prints."""
    variables = os.environ | {"BASE_URL": live.url, "RUNWARE_API_KEY": API_KEY}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(printed: str) -> list[np.ndarray]:
    """The pictures behind the URLs that an example prints, [H, W, 3]."""
    urls = re.findall(r"http://\S+/image/[\w-]+\.\w+", printed)
    return [np.asarray(Image.open(io.BytesIO(httpx2.get(url).content)).convert("RGB")) for url in urls]


def shows(picture: np.ndarray, y: float, x: float, colour: tuple[int, int, int]) -> bool:
    """Whether a place, in shares of the sides, has about this colour."""
    height, width, _ = picture.shape
    pixel = picture[int(y * height), int(x * width)].astype(int)
    return bool(np.abs(pixel - colour).max() < 60)


def test_text_to_image(live: LiveServer) -> None:
    (picture,) = pictures(run(live, sys.executable, EXAMPLES / "text_to_image.py"))
    assert shows(picture, 0.5, 0.5, RED)
    assert shows(picture, 0.05, 0.05, WHITE)


@pytest.mark.slow
def test_a_picture_is_watched(live: LiveServer) -> None:
    printed = run(live, sys.executable, EXAMPLES / "watch.py")
    names = [line.split()[0] for line in printed.splitlines()]
    assert names[-2:] == ["result", "end"]
    assert {"step", "preview"} <= set(names)
    (picture,) = pictures(printed)
    assert shows(picture, 0.5, 0.5, RED)


def test_a_watched_picture_is_stopped_half_way(live: LiveServer) -> None:
    printed = run(live, sys.executable, EXAMPLES / "watch.py", "--cancel")
    assert printed.splitlines()[-1].startswith('end {"state": "cancelled"')
    steps = [json.loads(line.split(" ", 1)[1])["step"] for line in printed.splitlines() if line.startswith("step")]
    assert 25 <= steps[-1] < 50


@pytest.mark.slow
def test_edit(live: LiveServer) -> None:
    drawn, edited = pictures(run(live, sys.executable, EXAMPLES / "edit.py"))
    assert shows(drawn, 0.5, 0.5, RED)
    assert shows(edited, 0.5, 0.5, BLUE)
    assert shows(edited, 0.05, 0.05, WHITE)


@pytest.mark.slow
def test_edit_of_a_file(live: LiveServer, tmp_path: Path) -> None:
    drawn, _ = pictures(run(live, sys.executable, EXAMPLES / "edit.py"))
    Image.fromarray(drawn).save(tmp_path / "photo.png")
    (edited,) = pictures(run(live, sys.executable, EXAMPLES / "edit.py", tmp_path / "photo.png"))
    assert shows(edited, 0.5, 0.5, BLUE)


@pytest.mark.slow
def test_lora(live: LiveServer) -> None:
    plain, outlined = pictures(run(live, sys.executable, EXAMPLES / "lora.py"))
    assert shows(plain, 0.5, 0.5, RED)
    assert shows(outlined, 0.5, 0.5, WHITE)


@pytest.mark.slow
def test_controlnet(live: LiveServer) -> None:
    source, control, picture = pictures(run(live, sys.executable, EXAMPLES / "controlnet.py"))
    assert shows(source, 0.25, 0.25, BLUE)
    assert shows(source, 0.75, 0.75, YELLOW)
    assert 0 < control.mean() < 32
    assert shows(picture, 0.25, 0.25, GREEN)
    assert shows(picture, 0.75, 0.75, WHITE)


@pytest.mark.slow
def test_step_cache(live: LiveServer) -> None:
    printed = run(live, sys.executable, EXAMPLES / "step_cache.py")
    (picture,) = pictures(printed)
    assert shows(picture, 0.5, 0.5, RED)
    assert re.search(r"^fbcache reused [1-9]\d* of 20 steps$", printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text_to_image", "lora", "step_cache"])
def test_a_request_file_can_be_sent_twice(live: LiveServer, name: str) -> None:
    for _ in range(2):
        (picture,) = pictures(run(live, EXAMPLES / "send.sh", EXAMPLES / "requests" / f"{name}.json"))
        assert shows(picture, 0.05, 0.05, WHITE)


@pytest.mark.slow
def test_an_uploaded_picture_can_be_edited(live: LiveServer, tmp_path: Path) -> None:
    (drawn,) = pictures(run(live, EXAMPLES / "send.sh", EXAMPLES / "requests" / "text_to_image.json"))
    Image.fromarray(drawn).save(tmp_path / "photo.png")
    answer = run(live, EXAMPLES / "upload.sh", tmp_path / "photo.png")
    uuid = re.findall(r'"imageUUID":"([^"]+)"', answer)[0]
    (edited,) = pictures(run(live, EXAMPLES / "send.sh", EXAMPLES / "requests" / "edit.json", uuid))
    assert shows(edited, 0.5, 0.5, BLUE)


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
def test_python_api(live: LiveServer, tmp_path: Path) -> None:
    run(live, sys.executable, EXAMPLES / "python_api.py", cwd=tmp_path)
    names = ("circle", "blue", "outlined")
    circle, blue, outlined = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in names)
    assert shows(circle, 0.5, 0.5, RED)
    assert shows(blue, 0.5, 0.5, BLUE)
    assert shows(outlined, 0.5, 0.5, WHITE)


@pytest.mark.clients
def test_javascript(live: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    example = tmp_path / "text_to_image.mjs"
    example.write_text((EXAMPLES / "text_to_image.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    (picture,) = pictures(run(live, "node", example, cwd=tmp_path))
    assert shows(picture, 0.5, 0.5, RED)
