"""The process that the workers of a CPU are forked from: it has imported what they need.

The imports are most of what a start costs, and the system shares their memory among the processes. Knows no job.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

import structlog

log = structlog.get_logger()

PRELOADED = "server.jobs.workers.process.preload"


def context_of(device: str) -> BaseContext:
    """How the worker of a device is started: forked for the CPU of Linux, else spawned.

    A library that looks for a GPU while it is imported may leave a process whose forks cannot use CUDA. The libraries
    of other systems run threads, which no fork survives.
    """
    if device != "cpu" or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    return context


@contextlib.contextmanager
def begun_imports(devices: Sequence[str]) -> Iterator[None]:
    """Import for the workers of these devices beside what is done inside the block. Nothing is left after it."""
    forked = any(context_of(device).get_start_method() == "forkserver" for device in devices)
    if forked:
        log.info("importing the libraries of the models")
        forkserver.ensure_running()
    try:
        yield
    finally:
        if forked:
            end()


def process_id() -> int | None:
    """The id of the process that was started last, which may have ended. None before there is one."""
    return forkserver._forkserver._forkserver_pid  # pyright: ignore[reportAttributeAccessIssue]  nothing public has it


def end() -> None:
    """End the process at once, if it runs. It would notice the end of this process only after its imports."""
    pid = process_id()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # the library looks for its end too
