"""Errors in the loop of a worker: what each job is told, and what is not held afterwards."""

import errno
import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.errors import ControlError, LoadError, LoraError, PromptError, RenderError, ResultError, SizeError
from server.errors import Failure
from server.jobs.workers.messages import (
    Failed,
    RenderJob,
)
from server.options.sharing import Sharing
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.workers.loops import (
    LATER,
    OutOfMemoryError,
    both,
    fails,
    kinds,
    make_job,
    serve,
)


@both
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (LoraError("why", "loras[1]"), Failure("invalidModel", "why", 400, "loras[1]")),
        (ControlError("why", "controls[0]"), Failure("invalidModel", "why", 400, "controls[0]")),
        (LoadError("why"), Failure("modelNotReady", "why", 503)),
        (PromptError("why", "prompt"), Failure("inferenceError", "why", 500, "prompt")),
        (ResultError("why"), Failure("inferenceError", "why", 500)),
        (SizeError("why", "width"), Failure("valueTooLarge", "why", 413, "width")),
    ],
)
def test_what_cannot_be_rendered_says_why(
    job: RenderJob, error: RenderError, failure: Failure, sharing: Sharing
) -> None:
    assert serve(job, writer=FakeWriter(error), sharing=sharing) == [Failed(1, failure)]


@pytest.mark.parametrize(
    ("error", "words", "freed"),
    [
        (OutOfMemoryError("CUDA out of memory"), "ran out of memory at 128×256", 2),
        (MemoryError("cannot pin"), "ran out of memory at 128×256", 2),
        (ZeroDivisionError("a secret of ours"), "The server's log has the details.", 0),
    ],
)
def test_an_unforeseen_error_fails_the_job_only(job: RenderJob, error: Exception, words: str, freed: int) -> None:
    writer = FakeWriter(error)
    first, second = serve(job, LATER, replace(job, job_id=2), writer=writer)
    assert (first.failure.code, first.failure.status) == ("inferenceError", 500)
    assert words in first.failure.message
    assert "secret" not in first.failure.message
    assert second.job_id == 2
    assert writer.freed == freed


@both
def test_a_full_disk_is_told_as_that(job: RenderJob, sharing: Sharing) -> None:
    writer = FakeWriter()
    writer.before = fails("write", OSError(errno.ENOSPC, "No space left on device"))
    *_, failed = serve(job, writer=writer, sharing=sharing)
    assert (failed.failure.code, failed.failure.status) == ("insufficientStorage", 507)


@pytest.mark.parametrize("where", ["open", "prepare", "advance", "decode", "write"])
@both
def test_after_an_error_nothing_of_the_render_is_held(tmp_path: Path, where: str, sharing: Sharing) -> None:
    tensors: list[weakref.ref[FakeImage]] = []

    class Greedy(FakeWriter):
        def free_memory(self) -> None:
            gc.collect()  # as the real one does
            assert tensors[0]() is None
            super().free_memory()

    def before(word: str, image: FakeImage) -> None:
        if word == where:
            tensors.append(weakref.ref(image))
            raise OutOfMemoryError("CUDA out of memory")

    writer = Greedy(on_gpu=True)
    writer.before = before
    assert kinds(serve(make_job(tmp_path, 1, images=1), writer=writer, sharing=sharing))[-1] is Failed
    assert writer.freed == 1
