"""The command that installs an extra of the project: packages that only some options need."""

import sys
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

# The package of the content check and of the search for faces. Each has an extra of its own.
DETECTOR = "nudenet"
TRACING = "opentelemetry.sdk"
_ROOT = Path(__file__).parents[1]


def is_installed(package: str) -> bool:
    """Whether a package of an extra can be imported. Imports nothing."""
    return find_spec(package) is not None


def install_command(extra: str) -> str:
    """A line for the shell. It names the checkout that runs, or else the packages: the project is in no registry."""
    if (_ROOT / "pyproject.toml").is_file():
        wanted = [f"-e '{_ROOT}[{extra}]'"]
    else:
        marker = f'extra == "{extra}"'
        found = (line.partition(";") for line in requires("ownware") or ())
        wanted = [f"'{package.strip()}'" for package, _, condition in found if condition.strip() == marker]
    return f"{sys.executable} -m pip install {' '.join(wanted)}"
