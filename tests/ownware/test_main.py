import subprocess
import sys

from ownware import __version__


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "ownware", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ownware {__version__}\n"
