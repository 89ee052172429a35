"""A log that cannot be written, or that nobody reads, changes no task."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.servers import ChaosServer, chaos_server

pytestmark = pytest.mark.chaos


def works_and_ends(server: ChaosServer) -> None:
    """Tasks are answered one after the other, and SIGTERM ends the server."""
    for _ in range(3):
        assert "imageURL" in server.send()
    assert server.terminate() == 0


def test_a_log_whose_reader_has_gone(tmp_path: Path) -> None:
    """`ownware serve 2>&1 | head -4`: the first task was answered, all others hung for ever."""
    reader, writer = os.pipe()
    with chaos_server(tmp_path, log=writer) as server:
        os.close(writer)
        os.close(reader)
        works_and_ends(server)


def test_a_log_on_a_full_disk(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, chaos_server(tmp_path, log=full) as server:
        works_and_ends(server)


@pytest.fixture
def stuck_pipe() -> Iterator[int]:
    """A pipe that is full, and that nobody reads."""
    reader, writer = os.pipe()
    os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)))
    yield writer
    os.close(writer)
    os.close(reader)


def test_a_log_that_nobody_reads(tmp_path: Path, stuck_pipe: int) -> None:
    with chaos_server(tmp_path, log=stuck_pipe) as server:
        works_and_ends(server)
