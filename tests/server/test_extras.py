import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from server import extras
from server.extras import install_command


def test_a_checkout_is_named() -> None:
    root = Path(__file__).parents[2]
    assert install_command("faces") == f"{sys.executable} -m pip install -e '{root}[faces]'"


def test_elsewhere_the_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    assert any('extra == "faces"' in line for line in requires("ownware") or ())
    command = install_command("faces")
    assert command.startswith(f"{sys.executable} -m pip install 'nudenet")
    assert command.count("'") == 2
