"""How OpenMP's threads wait for work. Imports no torch: the runtime reads these variables when torch is loaded."""

import os
import sys

# A thread without work sleeps at once instead of spinning. A spinning thread takes the core that another one needs.
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def wait_passively() -> None:
    """Let idle threads sleep. Changes nothing where the user has set either variable, or after torch is loaded."""
    if "torch" not in sys.modules and PASSIVE.keys().isdisjoint(os.environ):
        os.environ.update(PASSIVE)
