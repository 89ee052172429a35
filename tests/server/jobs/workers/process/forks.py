"""Lets workers be forked from a process that imports something small."""

import contextlib
from collections.abc import Iterator

import pytest

from server.jobs.workers.process import fork_server


@contextlib.contextmanager
def preloading(name: str) -> Iterator[None]:
    """Import a module of `tests.server.jobs` before each fork inside the block, instead of the libraries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_server, "PRELOADED", f"tests.server.jobs.{name}")
        fork_server.end()
        yield
        fork_server.end()
