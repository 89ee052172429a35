import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from pipelines.models.running.side_streams import SideStreams


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log: list[str] = []

    class Stream:
        def __init__(self, device: torch.device) -> None:
            log.append("made")

        def wait_stream(self, other: str) -> None:
            log.append(f"waits for {other}")

        def synchronize(self) -> None:
            log.append("is waited for")

    @contextmanager
    def current(stream: Any) -> Iterator[None]:
        log.append("begins")
        yield
        log.append("ends")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "default")
    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "stream", current)
    return log


def run(streams: SideStreams) -> None:
    with streams.running():
        pass


def test_work_beside_the_steps_is_ordered_with_them(log: list[str]) -> None:
    streams = SideStreams(torch.device("cuda:0"))
    run(streams)
    once = ["waits for default", "begins", "begins", "ends", "ends", "is waited for"]
    assert log == ["made", *once]
    run(streams)
    assert log == ["made", *once, *once]


def test_each_thread_has_its_own(log: list[str]) -> None:
    streams = SideStreams(torch.device("cuda:0"))
    run(streams)
    thread = threading.Thread(target=run, args=(streams,))
    thread.start()
    thread.join()
    assert log.count("made") == 2


def test_a_cpu_has_none(log: list[str]) -> None:
    run(SideStreams(torch.device("cpu")))
    assert log == []
