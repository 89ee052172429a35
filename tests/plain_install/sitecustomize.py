"""Read by Python at the start of each server of the tests: it has the packages of a plain installation.

The libraries of the models import these wherever they find them, which takes a part of a worker's start. A server
without extras has none of them.
"""

import sys

for name in ("bitsandbytes", "peft", "scipy", "torchao"):
    sys.modules[name] = None  # pyright: ignore[reportArgumentType]  what makes an import fail
