import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import Pipe

import pytest
from PIL import Image

from benchmarks.hostile_inputs import (
    ATTACKS,
    BEGIN,
    END,
    decoders_of,
    jpeg_of_scans,
    large_png,
    measure,
    memory,
    post,
    probe,
    task,
    watch_decoders,
    with_table,
)
from benchmarks.records import read_lines
from pipelines.pictures.image_files import open_image
from server.media.decoding.decode import count_scans
from tests.docs.pages import ROOT

LINE = {"input": "a", "stall_ms": 1, "peak_mb": 2, "decoders_mb": 3}


def test_the_table_has_the_latest_line_of_each_input() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    new = with_table(page, [LINE, LINE | {"input": "b"}, LINE | {"stall_ms": 9}])
    rows = [line for line in new.splitlines() if line.endswith("MB |")]
    assert rows == ["| a | 9 ms | +2 MB | 3 MB |", "| b | 1 ms | +2 MB | 3 MB |"]
    assert with_table(page, [{"input": "a", "stall_ms": 1, "peak_mb": 2}]).count("| not measured |") == 1
    assert (new.splitlines()[0], new.splitlines()[-1]) == ("before", "after")
    assert with_table(new, [LINE]).count(BEGIN) == 1


def test_the_page_has_the_committed_figures() -> None:
    page = (ROOT / "docs" / "reference" / "reliability.md").read_text(encoding="utf-8")
    lines = read_lines(ROOT / "benchmarks" / "results" / "hostile-cpu.jsonl")
    assert with_table(page, lines) == page, "run python -m benchmarks.hostile_inputs with --page"
    assert {line["input"] for line in lines} == set(ATTACKS)


def test_the_pictures_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_scans(jpeg_of_scans(200)) > 200
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with open_image(large_png()) as image:
        assert image.size == (8000, 8000)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_decoders_of_a_process() -> None:
    assert memory(os.getpid()) > 10**6
    assert memory(2**30) == 0
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, "decoder_process"], stdin=subprocess.PIPE) as child:
        with watch_decoders(os.getpid()) as sums:
            while len(sums) < 3:
                pass
        assert list(decoders_of(os.getpid())) == [child.pid]
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


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
def test_a_real_server() -> None:
    figures = measure(post(lambda: task(lora=[1] * 1000)))
    assert figures.keys() == {"stall_ms", "peak_mb", "decoders_mb"}
    assert figures["decoders_mb"] > 0
