"""Every example runs as it is, and its pictures show what it asks for."""

import io
import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.docs.pages import ROOT
from tests.live import API_KEY, LiveServer

EXAMPLES = ROOT / "examples"
RED, BLUE, GREEN, WHITE, YELLOW = (220, 40, 40), (35, 85, 205), (30, 150, 60), (252, 252, 252), (250, 215, 50)


Run = Callable[..., str]


@pytest.fixture
def run(live: LiveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What an example prints. Those in Python run in this process, which has imported what they need."""
    monkeypatch.setenv("BASE_URL", live.url)
    monkeypatch.setenv("RUNWARE_API_KEY", API_KEY)

    def run(name: str, *arguments: str | Path) -> str:
        command = [str(EXAMPLES / name), *map(str, arguments)]
        if name.endswith(".py"):
            monkeypatch.setattr(sys, "argv", command)
            runpy.run_path(command[0], run_name="__main__")
            return capsys.readouterr().out
        return printed_by(*command)

    return run


def printed_by(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
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


def test_text_to_image(run: Run) -> None:
    (picture,) = pictures(run("text_to_image.py"))
    assert shows(picture, 0.5, 0.5, RED)
    assert shows(picture, 0.05, 0.05, WHITE)


@pytest.mark.slow
def test_a_picture_is_watched(run: Run) -> None:
    printed = run("watch.py")
    names = [line.split()[0] for line in printed.splitlines()]
    assert names[-2:] == ["result", "end"]
    assert {"step", "preview"} <= set(names)
    (picture,) = pictures(printed)
    assert shows(picture, 0.5, 0.5, RED)


@pytest.mark.slow
def test_a_watched_picture_is_stopped_half_way(run: Run) -> None:
    printed = run("watch.py", "--cancel")
    assert printed.splitlines()[-1].startswith('end {"state": "cancelled"')
    steps = [json.loads(line.split(" ", 1)[1])["step"] for line in printed.splitlines() if line.startswith("step")]
    assert 25 <= steps[-1] < 50


@pytest.mark.slow
def test_edit(run: Run, tmp_path: Path) -> None:
    drawn, edited = pictures(run("edit.py"))
    assert shows(drawn, 0.5, 0.5, RED)
    assert shows(edited, 0.5, 0.5, BLUE)
    assert shows(edited, 0.05, 0.05, WHITE)
    Image.fromarray(drawn).save(tmp_path / "photo.png")
    (edited,) = pictures(run("edit.py", tmp_path / "photo.png"))
    assert shows(edited, 0.5, 0.5, BLUE)


@pytest.mark.slow
def test_lora(run: Run) -> None:
    plain, outlined = pictures(run("lora.py"))
    assert shows(plain, 0.5, 0.5, RED)
    assert shows(outlined, 0.5, 0.5, WHITE)


@pytest.mark.slow
def test_controlnet(run: Run) -> None:
    source, control, picture = pictures(run("controlnet.py"))
    assert shows(source, 0.25, 0.25, BLUE)
    assert shows(source, 0.75, 0.75, YELLOW)
    assert 0 < control.mean() < 32
    assert shows(picture, 0.25, 0.25, GREEN)
    assert shows(picture, 0.75, 0.75, WHITE)


@pytest.mark.slow
def test_step_cache(run: Run) -> None:
    printed = run("step_cache.py")
    (picture,) = pictures(printed)
    assert shows(picture, 0.5, 0.5, RED)
    assert re.search(r"^fbcache reused [1-9]\d* of 20 steps$", printed, re.MULTILINE)


@pytest.mark.slow
def test_a_request_file_can_be_sent_twice_and_an_uploaded_picture_edited(run: Run, tmp_path: Path) -> None:
    """The other request files are sent by `tests/docs/test_commands.py`, once each."""
    request = ("send.sh", EXAMPLES / "requests" / "text_to_image.json")
    drawn, again = (pictures(run(*request))[0] for _ in range(2))
    assert shows(again, 0.05, 0.05, WHITE)
    Image.fromarray(drawn).save(tmp_path / "photo.png")
    answer = run("upload.sh", tmp_path / "photo.png")
    uuid = re.findall(r'"imageUUID":"([^"]+)"', answer)[0]
    (edited,) = pictures(run("send.sh", EXAMPLES / "requests" / "edit.json", uuid))
    assert shows(edited, 0.5, 0.5, BLUE)


@pytest.mark.slow
def test_python_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OWNWARE_DEVICES", "cpu")
    runpy.run_path(str(EXAMPLES / "python_api.py"), run_name="__main__")
    names = ("circle", "blue", "outlined")
    circle, blue, outlined = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in names)
    assert shows(circle, 0.5, 0.5, RED)
    assert shows(blue, 0.5, 0.5, BLUE)
    assert shows(outlined, 0.5, 0.5, WHITE)


@pytest.mark.clients
@pytest.mark.usefixtures("run")
def test_javascript(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    example = tmp_path / "text_to_image.mjs"
    example.write_text((EXAMPLES / "text_to_image.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    (picture,) = pictures(printed_by("node", str(example), cwd=tmp_path))
    assert shows(picture, 0.5, 0.5, RED)
