"""Watches a server while something is done to it: its longest answer, and the memory that its processes take."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from benchmarks.runs.process_status import children_of, status_bytes

DECODER = "decoder_process"  # in the command line of each
_PAUSE = 0.005  # between two questions, and between two looks at the memory


def probe(url: str, line: Connection) -> None:
    """Ask `/healthz` until told to stop, and send the longest time that an answer took, in seconds."""
    address = urlsplit(url)
    longest = 0.0
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port)) as web:
        line.send(None)
        while not line.poll():
            begun = time.perf_counter()
            web.request("GET", "/healthz")
            web.getresponse().read()
            longest = max(longest, time.perf_counter() - begun)
            time.sleep(_PAUSE)
    line.send(longest)


def memory(pid: int) -> int:
    """The most bytes that a process has had in memory; 0 for one that has ended."""
    try:
        return status_bytes(pid, "VmHWM")
    except OSError:
        return 0


@contextlib.contextmanager
def watch_decoders(pid: int) -> Iterator[list[int]]:
    """Note within this block how many bytes the decoders of a server take together. Each one's peak counts."""
    sums, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            sums.append(sum(map(memory, children_of(pid, DECODER))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield sums
    finally:
        done.set()
        watcher.join()
