"""A process that decodes pictures of strangers, and can be killed at any time.

`main` runs in it: it reads bytes, decodes them within limits of time and memory, and answers. `DecoderProcess` is its
handle in the API process. The process has no API keys in its environment. It imports no torch and knows no tasks.
"""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from server.errors import MediaError
from server.media.decoding.decode import Picture, check_picture, rewrite_picture, shrink_picture

# Of computing, so that a busy machine refuses nothing. Measured: a noisy photo of 64 megapixels, decoded and written
# anew. It takes 6.5 s as JPEG, 8.5 s as WEBP or AVIF, and 15 s as a PNG in P3 with transparency. Twice that is allowed.
BASE_SECONDS = 3
SECONDS_OF_A_MEGAPIXEL = 0.5
# The decoded image, its copies with 8 bits and in sRGB, and the decoders' own memory. Those photos take at most 20
# bytes a pixel.
BASE_BYTES = 512 * 2**20
BYTES_OF_A_PIXEL = 32
# For a process that is stopped, or waits for a disk. It is never reached by computing alone.
MAX_WAIT_SECONDS = 120.0

# The API process must answer at once while pictures are decoded.
NICENESS = 5

_MESSAGE_BYTES = 65_536
_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class DecoderProcess:
    """One decoder. It is started at its first picture, and anew after one that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process if there is none. Does not wait for it."""
        self._running()

    def _running(self) -> tuple[subprocess.Popen[bytes], Connection]:
        if self._process is not None and self._process.poll() is None and self._connection is not None:
            return self._process, self._connection
        self.kill()
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", "-m", "server.media.decoding.decoder_process", str(theirs.fileno())]
            environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
            environment |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, close_fds=True
            )
        self._connection = ours
        return self._process, ours

    def decode(self, data: bytes, max_pixels: int, path: Path | None, longest: int | None = None) -> Picture:
        """Check a picture, and write it anew into a file if a path is given: smaller, if `longest` says how long a side
        may be. Blocks.

        Raises `MediaError`, also where the picture takes too long or ends the process. Raises `OSError` where the file
        cannot be written.
        """
        process, connection = self._running()
        # A thread, because the process may be stopped while we send, receive or wait.
        timer = threading.Timer(MAX_WAIT_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            job = {"max_pixels": max_pixels, "path": None if path is None else str(path), "longest": longest}
            connection.send_bytes(json.dumps(job).encode())
            connection.send_bytes(data)
            reply = json.loads(connection.recv_bytes(_MESSAGE_BYTES))
        except (EOFError, OSError) as error:
            raise MediaError(self._why_it_ended()) from error
        finally:
            timer.cancel()
        return _picture(reply)

    def stop(self) -> None:
        """End the process at once, from any thread. A picture that is being decoded becomes a `MediaError`."""
        if self._process is not None:
            self._process.kill()

    def kill(self) -> None:
        """End the process and forget it. Nothing may be decoded meanwhile."""
        self.stop()
        if self._process is not None:
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _why_it_ended(self) -> str:
        status = self._process.wait() if self._process is not None else 0
        self.kill()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            return "The image takes too long to decode."
        return "The image cannot be decoded: its decoder failed."


def _picture(reply: dict[str, Any]) -> Picture:
    if "refused" in reply:
        raise MediaError(reply["refused"])
    if "errno" in reply:
        raise OSError(reply["errno"], os.strerror(reply["errno"]))
    return Picture(**reply)


def main(descriptor: int) -> None:
    """Answer pictures until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's own process ends this one
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    with Connection(descriptor) as connection:
        while True:
            try:
                job, data = json.loads(connection.recv_bytes()), connection.recv_bytes()
            except EOFError:
                return
            connection.send_bytes(json.dumps(_answer(data, **job)).encode())


def _answer(data: bytes, max_pixels: int, path: str | None, longest: int | None) -> dict[str, Any]:
    try:
        _limit(0)
        if path is None:
            return asdict(check_picture(data, max_pixels, _limit))
        if longest is not None:
            return asdict(shrink_picture(data, max_pixels, Path(path), longest, _limit))
        return asdict(rewrite_picture(data, max_pixels, Path(path), _limit))
    except MediaError as error:
        return {"refused": error.message}
    except OSError as error:
        return {"errno": error.errno or 0}


def _limit(pixels: int) -> None:
    """Bound the time and the memory from now on to what an image of this size needs."""
    seconds = time.process_time() + BASE_SECONDS + SECONDS_OF_A_MEGAPIXEL * pixels / 1e6
    _set_limit(resource.RLIMIT_CPU, math.ceil(seconds))
    if (size := _address_space()) is not None:
        _set_limit(resource.RLIMIT_AS, size + BASE_BYTES + BYTES_OF_A_PIXEL * pixels)


def _set_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int | None:
    """The bytes of this process's address space. None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None


if __name__ == "__main__":
    main(int(sys.argv[1]))
