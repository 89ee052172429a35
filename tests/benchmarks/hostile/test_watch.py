import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import Pipe

import pytest

from benchmarks.hostile.watch import DECODER, memory, probe, watch_decoders


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_decoders_of_a_process() -> None:
    assert memory(os.getpid()) > 10**6
    assert memory(2**30) == 0
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", DECODER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has its command line
        with watch_decoders(os.getpid()) as sums:
            while len(sums) < 3:
                pass
        assert max(sums) > 0
        child.communicate()


def test_a_stall_is_the_longest_answer() -> None:
    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answers = 0

        def do_GET(self) -> None:
            Slow.answers += 1
            if Slow.answers == 2:
                ours.send(None)
                held.wait(0.05)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    held = threading.Event()
    ours, theirs = Pipe()
    with HTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        probe(f"http://127.0.0.1:{server.server_port}", theirs)
        server.shutdown()
    assert ours.recv() is None
    assert ours.recv() >= 0.05
