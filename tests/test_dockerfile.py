"""The image holds what the command imports, is built in good order, and its steps work in a clean folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from server.settings import Settings
from tests.sources import ROOT, packages_needed

TEXT = (ROOT / "Dockerfile.cuda").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Each instruction with its arguments; continued lines are joined, comments are left out.
JOINED = re.sub(r"\\\n\s*", "", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#")))
STEPS = [(step.split(" ", 1)[0], step.split(" ", 1)[1].strip()) for step in JOINED.splitlines() if step.strip()]
COPIED = {source for kind, given in STEPS if kind == "COPY" for source in given.split()[:-1]}


def arguments(kind: str) -> list[str]:
    return [given for name, given in STEPS if name == kind]


def position(kind: str, text: str) -> int:
    return next(number for number, (name, given) in enumerate(STEPS) if name == kind and text in given)


VARIABLES = dict(word.split("=", 1) for given in arguments("ENV") for word in shlex.split(given))
(HEALTH,) = (json.loads(given.partition("CMD ")[2]) for given in arguments("HEALTHCHECK"))


class TestContents:
    def test_every_package_that_the_command_imports_is_copied(self) -> None:
        assert {name for name in COPIED if (ROOT / name).is_dir()} == packages_needed("ownware")

    def test_every_file_that_the_build_reads_is_copied(self) -> None:
        read = {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
        assert {name for name in COPIED if (ROOT / name).is_file()} == read

    def test_nothing_else_is_sent_to_the_build(self) -> None:
        lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        assert lines[1] == "*"
        assert {line.removeprefix("!") for line in lines if line.startswith("!")} == COPIED


class TestOrder:
    def test_it_is_made_of_known_instructions(self) -> None:
        known = "FROM RUN WORKDIR COPY ENV VOLUME USER EXPOSE HEALTHCHECK STOPSIGNAL CMD"
        assert {kind for kind, _ in STEPS} == set(known.split())

    def test_the_base_is_one_version_and_has_no_cuda_of_its_own(self) -> None:
        (base,) = arguments("FROM")
        found = re.fullmatch(r"python:(\d+)\.(\d+)-slim-\w+", base)
        assert found is not None
        assert (int(found[1]), int(found[2])) >= (3, 11)
        assert "LD_LIBRARY_PATH" not in VARIABLES

    def test_dependencies_have_layers_before_the_code(self) -> None:
        torch = next(each for each in PROJECT["dependencies"] if each.startswith("torch=="))
        code = position("COPY", "ownware ownware")
        assert position("RUN", f"install --no-cache-dir {torch}") < position("COPY", "pyproject.toml")
        assert position("COPY", "pyproject.toml") < position("RUN", "-r requirements.txt") < code
        assert code < position("RUN", "install --no-cache-dir --no-deps .") < position("USER", "ownware")

    def test_installing_leaves_nothing_behind(self) -> None:
        for command in arguments("RUN"):
            assert "pip install" not in command or "--no-cache-dir" in command
            if "apt-get install" in command:
                assert "--no-install-recommends" in command
                assert "rm -rf /var/lib/apt/lists/*" in command

    def test_the_command_is_no_shell(self) -> None:
        assert [json.loads(given) for given in arguments("CMD")] == [["ownware", "serve"]]


class TestSettings:
    def test_variables_are_options(self) -> None:
        options = {name.removeprefix("OWNWARE_").lower() for name in VARIABLES if name.startswith("OWNWARE_")}
        assert options <= set(Settings.model_fields)

    def test_the_demonstration_is_not_served_in_silence(self) -> None:
        assert VARIABLES["OWNWARE_WEIGHTS"] == "catalog"
        assert VARIABLES["OWNWARE_DEVICES"] == "cuda"

    def test_no_key_is_given(self) -> None:
        assert not any("KEY" in name or "TOKEN" in name for name in VARIABLES)
        assert not re.search(r"OWNWARE_API_KEYS=(?!\$\()", TEXT)

    def test_it_runs_without_root_and_keeps_weights_on_the_volume(self) -> None:
        (user,), (volume,) = arguments("USER"), arguments("VOLUME")
        assert user != "root"
        made = position("RUN", f"useradd --uid 1000 --create-home {user}")
        assert f"chown {user} {volume}" in STEPS[made][1]
        assert made < position("VOLUME", volume)  # what comes after does not reach the volume
        for name in ("OWNWARE_DATA_DIR", "HF_HOME"):
            assert Path(VARIABLES[name]).is_relative_to(volume)

    def test_the_driver_is_stated(self) -> None:
        assert "driver of version 580 or newer" in TEXT
        assert "utility" in VARIABLES["NVIDIA_DRIVER_CAPABILITIES"]  # nvidia-smi, which finds the cards


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean folder with what the image copies, and nothing else."""
    root = tmp_path_factory.mktemp("root")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, root / name)
    return root


class TestSteps:
    def test_the_requirements_are_all_dependencies_and_extras(self, root: Path) -> None:
        (command,) = (each for each in arguments("RUN") if "requirements.txt" in each)
        listing = command.partition("&&")[0].replace("python ", f"{shlex.quote(sys.executable)} ", 1)
        subprocess.run(["sh", "-c", listing], cwd=root, check=True)
        lines = (root / "requirements.txt").read_text().splitlines()
        extras = PROJECT["optional-dependencies"]
        chosen = [each for name in ("gpu", "faces", "benchmark") for each in extras[name]]
        assert lines == [*PROJECT["dependencies"], *chosen]

    @pytest.mark.slow
    def test_the_command_starts_from_what_is_copied(self, root: Path, tmp_path: Path) -> None:
        """Not installed: `tests/test_wheel.py` installs the same packages."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OWNWARE_")}
        environment |= {"PYTHONPATH": str(root), "PATH": "", "OWNWARE_DATA_DIR": str(tmp_path / "data")}
        environment |= {name: VARIABLES[name] for name in ("OWNWARE_DEVICES", "OWNWARE_WEIGHTS")}
        done = subprocess.run(
            [sys.executable, "-m", "ownware", "serve"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("ownware: --devices: 'cuda' ")  # no GPU, or a torch for the CPU only
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("status", [200, 503])
    def test_the_health_check_follows_readyz(self, status: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/readyz" else 404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the output of the tests clean."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = os.environ | {"OWNWARE_PORT": str(server.server_port)}
        command = [sys.executable, *HEALTH[1:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        thread.join()
        server.server_close()
        assert (done.returncode == 0) == (status == 200), done.stderr
