"""In a network whose private addresses all answer, none of them gets a connection."""

import json
import subprocess
import sys

import pytest

from tests.chaos import private_network
from tests.docs.pages import ROOT

pytestmark = pytest.mark.chaos

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")


def test_no_private_address_is_reached() -> None:
    """By any spelling, behind a redirect, or by a name whose address changes."""
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no network namespaces")
    command = [*NAMESPACE, sys.executable, "-m", "tests.chaos.private_network"]
    found = json.loads(subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout)
    assert found["tries"] > 200
    assert found["refusing"] == [private_network.PUBLIC]
    assert set(private_network.PRIVATE_V4) <= set(found["allowing"])  # they do answer
