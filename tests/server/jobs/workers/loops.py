"""The loop of a worker with a script in place of the API process, and the jobs and errors of its tests."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from server.jobs.workers.inbox import Completed
from server.jobs.workers.messages import (
    Output,
    RenderJob,
)
from server.jobs.workers.render_loop import RenderLoop, Stopped
from server.jobs.workers.writer import Writer
from server.media.encode import Encoding
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.common import REQUEST

LATER = object()  # what follows in a script has not arrived before the loop has nothing else to do
OVERLAP = Sharing(overlap=True)
TURNS = Sharing(renders=2)


class ScriptedInbox:
    """Messages that arrive, and whose sender then hangs up.

    What the background has done arrives when the loop has nothing else to do, or as soon as `wait_for_background` says.
    """

    def __init__(self, *script: Any) -> None:
        self._script = deque(script)
        self._completed: SimpleQueue[Completed] = SimpleQueue()
        self.submitted = 0
        self.taken = 0

    def take(self, *, wait: bool) -> Any:
        if self._script and self._script[0] is not LATER:
            return self._script.popleft()
        if not wait:
            return None
        if self.taken < self.submitted:
            self.taken += 1
            return self._completed.get(timeout=10)
        while self._script:
            if (message := self._script.popleft()) is not LATER:
                return message
        raise EOFError

    def put(self, message: Completed) -> None:
        self._completed.put(message)


class Loop:
    """A loop with a script; `replies` are its answers."""

    def __init__(self, *script: Any, writer: Writer, sharing: Sharing = ALONE) -> None:
        self.inbox = ScriptedInbox(*script)
        self.replies: list[Any] = []
        self._loop = RenderLoop(self.inbox, self.replies.append, writer, sharing)
        self._loop._encode = self._counted(self._loop._encode)
        self._loop._write = self._counted(self._loop._write)

    def _counted(self, submit: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            self.inbox.submitted += 1
            submit(*arguments)

        return counted

    def take_background(self) -> None:
        """Take what the background does, although the loop has something else to do."""
        self._loop._take_messages(wait=True)

    def run(self) -> list[Any]:
        with pytest.raises((Stopped, EOFError)):
            self._loop.run()
        return self.replies


def serve(*script: Any, writer: Writer | None = None, sharing: Sharing = ALONE) -> list[Any]:
    """What a worker answers to a script."""
    return Loop(*script, writer=writer or FakeWriter(), sharing=sharing).run()


def kinds(replies: list[Any]) -> list[type]:
    return [type(reply) for reply in replies]


def make_job(folder: Path, job_id: int, images: int = 2, steps: int = 2) -> RenderJob:
    outputs = tuple(Output(index, folder / f"{job_id}-{index}.png") for index in range(images))
    return RenderJob(job_id, replace(REQUEST, seed=7, steps=steps), Encoding("PNG", 95), outputs, str(job_id))


both = pytest.mark.parametrize("sharing", [ALONE, OVERLAP], ids=["one after the other", "overlap"])


class OutOfMemoryError(RuntimeError):
    """Called as torch's own."""


def fails(where: str, error: Exception, *, job_id: int = 1, index: int = 0, times: int = 10**6) -> Any:
    """Something to do `before`: an error at one thing of one image."""
    left = [times]

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id, image.output.index) == (where, job_id, index) and left[0]:
            left[0] -= 1
            raise error

    return before
