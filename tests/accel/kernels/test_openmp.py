import os
import subprocess
import sys

import pytest

from accel.kernels.openmp import PASSIVE, wait_passively


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in PASSIVE:
        monkeypatch.setenv(name, "")  # so that the end of the test restores it
        monkeypatch.delenv(name)


def values() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSIVE if name in os.environ}


def test_threads_sleep_by_default() -> None:
    wait_passively()
    assert values() == PASSIVE


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000")])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    wait_passively()
    assert values() == {name: value}


def test_it_is_too_late_once_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    wait_passively()
    assert values() == {}


@pytest.mark.parametrize(
    "start",
    [
        "import benchmarks.command",
        pytest.param("import ownware; ownware.generate", marks=pytest.mark.slow),  # imports all of diffusers
        "from ownware.cli import main; main()",
    ],
)
def test_commands_and_benchmarks_set_it_before_torch_is_loaded(start: str) -> None:
    code = "import atexit, os, sys; sys.argv[1:] = ['--version']; "
    code += f"atexit.register(lambda: print(os.environ.get('OMP_WAIT_POLICY'))); {start}"
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "PASSIVE"
