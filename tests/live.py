"""A real server in a process of its own, as `ownware serve` starts it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2

API_KEY = "test-key"
COMMAND = (sys.executable, "-m", "ownware")
PLAIN_INSTALL = Path(__file__).with_name("plain_install")


@dataclass(frozen=True)
class LiveServer:
    """Where a running server answers, and its process."""

    url: str
    process: subprocess.Popen[str]
    greeting: str
    log: IO[str]

    def errors(self) -> str:
        """All it has logged."""
        self.log.seek(0)
        return self.log.read()

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    @property
    def socket(self) -> str:
        return self.api.replace("http", "ws", 1)

    def send(self, task: dict[str, Any]) -> dict[str, Any]:
        """The only item of the answer to a task. A server that knows keys has to know `API_KEY`."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        response = httpx2.post(self.api, json=[task], headers=headers, timeout=180)
        assert response.status_code == 200, response.text
        (item,) = response.json()["data"]
        return item


def server_environment(**variables: str) -> dict[str, str]:
    """The variables of a server process: no settings, and the packages of a plain installation."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OWNWARE_")}
    folders = [str(PLAIN_INSTALL), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**inherited, "PYTHONPATH": os.pathsep.join(folders), **variables}


@contextlib.contextmanager
def live_server(data_dir: Path, *flags: str, command: Sequence[str] = COMMAND, **options: Any) -> Iterator[LiveServer]:
    """Start a server on a free port; stop it at the end. `options` are those of the process."""
    command = [*command, "serve", "--port", "0", "--data-dir", str(data_dir), *flags]
    with tempfile.TemporaryFile("w+") as log:
        options = {"env": server_environment(), **options}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, **options)
        try:
            greeting = _greeting(process)
            if greeting is None:
                log.seek(0)
                raise RuntimeError(f"the server did not start:\n{log.read()}")
            found = re.search(r"http://\S+?(?=/v1)", greeting)
            if found is None:
                raise RuntimeError(f"the greeting names no address:\n{greeting}")
            yield LiveServer(found.group(), process, greeting, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)
            if process.stdout is not None:
                process.stdout.close()


def _greeting(process: "subprocess.Popen[str]") -> str | None:
    """All that a server prints up to its curl line, or None when it ends before."""
    if process.stdout is None:
        return None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "curl -s" in line:
            return "".join(lines)
    return None
