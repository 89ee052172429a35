import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from server.errors import Failure
from server.jobs.job import Job, Result
from server.jobs.job_spans import record_end, record_image, record_wait
from server.jobs.workers.messages import ImageWritten, Phase
from server.tracing.tracer import Attributes
from tests.server.jobs.common import submission

TRACED = replace(submission(count=2), traceparent="parent")
JOB = Job(1, TRACED, "running", created=1.0, started=3.0, results=())
IMAGE = ImageWritten(1, 0, 64, 48, "hash", 2**63, 0.5, "{}", (), phases=(Phase("steps", 4, 5), Phase("decode", 5, 7)))


class Recorded:
    """A tracer that keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, float, float]] = []
        self.attributes: dict[str, Attributes] = {}
        self.errors: dict[str, str | None] = {}

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, parent: str | None = None) -> Iterator[str | None]:
        yield None

    def record(
        self, name: str, parent: str, begun: float, ended: float, attributes: Attributes, error: str | None = None
    ) -> str | None:
        self.spans.append((name, parent, begun, ended))
        self.attributes[name], self.errors[name] = attributes, error
        return f"{name} of {parent}"


@pytest.fixture
def tracer() -> Recorded:
    return Recorded()


def test_a_job_from_its_acceptance_to_its_end(tracer: Recorded) -> None:
    record_wait(tracer, JOB)
    record_image(tracer, JOB, IMAGE)
    failed = replace(JOB, state="failed", finished=9.0, failure=Failure("inferenceError", "why", 500))
    record_end(tracer, failed)
    assert tracer.spans == [
        ("queue", "parent", 1.0, 3.0),
        ("image", "parent", 4, 7),
        ("steps", "image of parent", 4, 5),
        ("decode", "image of parent", 5, 7),
        ("task", "parent", 1.0, 9.0),
    ]
    assert {each["ownware.task_uuid"] for each in tracer.attributes.values()} == {TRACED.task_uuid}
    assert tracer.attributes["image"]["ownware.seed"] == str(2**63)  # OpenTelemetry's integers have 64 bits with sign
    assert (tracer.attributes["task"]["ownware.state"], tracer.errors["task"]) == ("failed", "inferenceError")


@pytest.mark.parametrize(("together", "told"), [(1, None), (3, 3)])
def test_images_of_a_batch_are_told(tracer: Recorded, together: int, told: int | None) -> None:
    record_image(tracer, JOB, replace(IMAGE, together=together))
    assert tracer.attributes["image"].get("ownware.together") == told


def test_a_job_that_goes_on_did_not_wait_since_it_was_accepted(tracer: Recorded) -> None:
    record_wait(tracer, replace(JOB, results=(Result(0, "a", 1, 0.1, "{}"),)))
    assert tracer.spans == []


def test_a_job_without_a_trace_has_no_spans(tracer: Recorded) -> None:
    untraced = replace(JOB, submission=submission())
    record_wait(tracer, untraced)
    record_image(tracer, untraced, IMAGE)
    record_end(tracer, untraced)
    assert tracer.spans == []


def test_a_worker_that_tells_no_phases(tracer: Recorded) -> None:
    record_image(tracer, JOB, replace(IMAGE, phases=()))
    ((name, _, begun, ended),) = tracer.spans
    assert name == "image"
    assert ended - begun == pytest.approx(IMAGE.seconds, abs=0.1)
