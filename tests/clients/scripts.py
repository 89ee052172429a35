"""Runs a vendor's client in a process of its own. `make test-clients` sets up the environment of each."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LONGEST_SECONDS = 180


def output_of(*command: object, **environment: str) -> str:
    """What a client prints. It has to end well."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(*command: object) -> dict[str, Any]:
    """What a client prints last, as JSON."""
    return json.loads(output_of(*command).splitlines()[-1])
