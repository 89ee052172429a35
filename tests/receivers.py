"""A receiver of webhooks and uploads, in a thread: it keeps what it gets, and misbehaves by the path of the URL.

`/fail` answers 500, `/refuse` 403, `/flaky` 500 to the first try of each message, `/close` nothing, `/redirect` leads
to another path. `/hang` and `/drip` answer when the receiver closes. Any other path answers 200.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Only a test that fails waits so long.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request. The names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        """The id of a webhook."""
        return self.headers["webhook-id"]


class Receiver:
    """What has arrived, and where more may arrive."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[Received] = []
        self.closed = threading.Event()
        self._changed = threading.Condition()

    def add(self, request: Received) -> bool:
        """Keep a request. Returns whether it is the first with its message id."""
        with self._changed:
            first = all(one.headers.get("webhook-id") != request.headers.get("webhook-id") for one in self.requests)
            self.requests.append(request)
            self._changed.notify_all()
        return first

    def wait_for(self, count: int, path: str = "") -> list[Received]:
        """Wait until that many requests to a path have arrived, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.at(path)) >= count, PATIENCE_SECONDS), self.requests
            return self.at(path)

    def at(self, path: str) -> list[Received]:
        """The requests to a path so far."""
        return [request for request in self.requests if request.path.startswith(path)]


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        first = self.receiver.add(Received(self.command, self.path, headers, body))
        match self.path.split("?")[0].strip("/").split("/")[0]:
            case "fail":
                self._answer(500)
            case "refuse":
                self._answer(403)
            case "flaky":
                self._answer(500 if first else 204)
            case "redirect":
                self._answer(307)
            case "close":
                self.close_connection = True
            case "hang":
                self.receiver.closed.wait()
            case "drip":
                while not self.receiver.closed.wait(0.05):
                    try:
                        self.wfile.write(b"H")
                    except OSError:
                        return
            case _:
                self._answer(200)

    do_PUT = do_POST

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status == 307:
            self.send_header("Location", f"{self.receiver.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of the loopback address."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.receiver = found = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        found.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()
