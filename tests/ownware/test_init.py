import subprocess
import sys
from importlib.metadata import version

import pytest

import ownware


def test_the_version_is_the_installed_one() -> None:
    assert ownware.__version__ == version("ownware")


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ("torch", "diffusers", "transformers", "numpy", "PIL", "pydantic")
    code = f"import sys, ownware; print(ownware.__version__, sorted(set({heavy}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{ownware.__version__} []\n"


def test_every_public_name_is_there() -> None:
    assert dir(ownware) == sorted(ownware.__all__)
    assert all(getattr(ownware, name).__doc__ for name in ownware.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ownware' has no attribute 'draw'"):
        ownware.draw  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018
