import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.hostile.attacks import HEADERS, at_once, post


@contextmanager
def listener() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    """A server that notes the path, the key and the body of each request."""
    seen = list[tuple[str, str | None, bytes]]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def test_a_body_is_sent_with_the_key_or_without() -> None:
    with listener() as (url, seen):
        post(lambda: b"[1]", path="/a")(url)
        post(lambda: b"[2]", key=False)(url)
    assert seen == [("/a", HEADERS["Authorization"], b"[1]"), ("/v1", None, b"[2]")]


def test_attacks_are_made_at_once() -> None:
    all_there, urls = threading.Barrier(3, timeout=20), list[str]()

    def attack(url: str) -> None:
        all_there.wait()
        urls.append(url)

    at_once(3, attack)("here")
    assert urls == ["here"] * 3
