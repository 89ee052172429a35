"""The wheel holds all that the command needs: it is built, installed apart from the checkout, and used there."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.live import PLAIN_INSTALL, live_server
from tests.server.conftest import new_task
from tests.sources import ROOT, packages_needed

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
COMMANDS = (
    "generate circle -o image.png --width 128 --height 128 --steps 2 --weights embedded --devices cpu",
    "replay image.png --out again.png --devices cpu",
    "bench caches --weights embedded --devices cpu --size 128 --steps 2 --prompts prompts.txt --settings settings.toml"
    " --out measured",
)
ONE_PROCESS = """
import sys
from ownware import cli

del sys.modules["scipy"]  # which a plain installation lacks, and which measuring needs
print(cli.__file__)
for command in sys.argv[1:]:
    sys.argv = ["ownware", *command.split()]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, command
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because the build leaves its own files where it works."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("training", "tests", "docs", *packages_needed("ownware")):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    return next(out.glob("ownware-*.whl"))


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A working directory and an environment that has the wheel and the dependencies, and knows no checkout."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "environment" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    # A path that a .pth file adds is searched last, and the .pth file of an editable install in there is not read.
    (site,) = folder.glob("environment/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (folder / "work").mkdir()
    path = os.pathsep.join((str(python.parent), ENVIRONMENT["PATH"]))
    return {"cwd": folder / "work", "env": ENVIRONMENT | {"PATH": path, "PYTHONPATH": str(PLAIN_INSTALL)}}


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **{"env": ENVIRONMENT, **options})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_holds_the_packages_that_the_command_imports_and_their_data(wheel: Path) -> None:
    files = {Path(name) for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = packages_needed("ownware")
    assert {path.parts[0] for path in files} == packages
    wanted = {path for name in packages for path in (ROOT / name).rglob("*") if path.is_file()}
    wanted = {path.relative_to(ROOT) for path in wanted if "__pycache__" not in path.parts}
    assert wanted - files == {path for path in wanted if path.is_relative_to("benchmarks/results")}


@pytest.mark.slow
def test_the_server_from_its_greeting_to_ctrl_c_in_the_middle_of_a_render(place: dict[str, Any]) -> None:
    home = run("python", "-c", "import ownware; print(ownware.__file__)", **place)
    assert Path(home).is_relative_to(place["cwd"].parent)
    with live_server(place["cwd"] / "data", "--devices", "cpu", command=["ownware"], **place) as server:
        for told in ("runware:108@1", "runware:108@20", "runware:108@22", "embedded", "cpu", "any key is accepted"):
            assert told in server.greeting
        found = re.search(r"curl -s.*", server.greeting)
        assert found is not None
        assert '"imageURL"' in run("sh", "-c", found.group(), **place)

        task = new_task(width=512, height=512, steps=50, numberResults=20, deliveryMethod="async")
        assert httpx2.post(server.api, json=[task]).status_code == 200
        asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        while not httpx2.post(server.api, json=[asking]).json()["data"][0].get("progress"):
            pass
        server.process.send_signal(signal.SIGINT)
        with contextlib.suppress(httpx2.TransportError):
            while True:  # until it takes no more connections
                httpx2.get(server.url)
        server.process.send_signal(signal.SIGINT)  # people press it twice
        assert server.process.wait(60) == 0  # the whole task would take minutes
        assert "Traceback" not in server.errors()
        assert "any API key is accepted" in server.errors()


@pytest.mark.slow
def test_commands_that_render_run_from_it(place: dict[str, Any]) -> None:
    """One after the other in one process, because the libraries of the models take seconds to import."""
    (place["cwd"] / "prompts.txt").write_text("a large red circle at the center on a white background")
    (place["cwd"] / "settings.toml").write_text("[[settings]]\nacceleratorOptions = { fbCache = true }\n")
    printed = run("python", "-c", ONE_PROCESS, *COMMANDS, **place)
    assert Path(printed.splitlines()[0]).is_relative_to(place["cwd"].parent)
    assert "the same bytes" in printed
    assert (place["cwd"] / "measured" / "report.html").is_file()
