"""The tables of jobs and their results: from objects to rows and back.

The functions run inside a transaction of the caller. Knows no worker and no wire format.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from accel.cache.report import CacheReport
from accel.validation_message import validation_message
from pipelines.request import RenderRequest, Sampler
from server.delivery.outbox import count_states
from server.delivery.targets import Upload, Webhook
from server.errors import Failure, InferenceError
from server.jobs.job import Job, Result, State, Submission
from server.media.encode import DEFAULT_QUALITY, Encoding

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL COLLATE NOCASE,
    state TEXT NOT NULL DEFAULT 'queued',
    task TEXT NOT NULL,
    request TEXT NOT NULL,
    encoding TEXT NOT NULL,
    image_uuids TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    failure TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    dialect TEXT NOT NULL,
    webhook TEXT NOT NULL DEFAULT 'null',
    upload TEXT NOT NULL DEFAULT 'null',
    estimate REAL NOT NULL DEFAULT 0,
    held_end TEXT,
    safety TEXT,
    traceparent TEXT,
    priority TEXT NOT NULL DEFAULT 'normal',
    UNIQUE (owner, task_uuid)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, created);
CREATE TABLE IF NOT EXISTS results (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    image_uuid TEXT NOT NULL,
    seed INTEGER NOT NULL,
    seconds REAL NOT NULL,
    failure TEXT,
    unsafe INTEGER,
    busy REAL,
    PRIMARY KEY (job_id, position)
);
CREATE INDEX IF NOT EXISTS results_by_image ON results (image_uuid);
CREATE TABLE IF NOT EXISTS receipts (
    image_uuid TEXT PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    receipt TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS receipts_by_job ON receipts (job_id);
CREATE TABLE IF NOT EXISTS cache_reports (
    image_uuid TEXT PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    report TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS cache_reports_by_job ON cache_reports (job_id);
"""

_RESULTS = (
    "SELECT position, image_uuid, seed, seconds, receipt, failure, unsafe, busy, report FROM results "
    "JOIN receipts USING (image_uuid) LEFT JOIN cache_reports USING (image_uuid) "
)
_REPORT = TypeAdapter(CacheReport)
_REQUEST = TypeAdapter(RenderRequest)
_ENCODING = TypeAdapter(Encoding)
_WEBHOOK = TypeAdapter(Webhook | None)
_UPLOAD = TypeAdapter(Upload | None)
_FAILURE = TypeAdapter(Failure)
UNREADABLE = Failure(
    "inferenceError",
    "This task was stored in a form that this version cannot read. Send it again.",
    InferenceError.status,
)
# Stands for a request that cannot be read, in a job that has ended.
UNKNOWN_REQUEST = RenderRequest("unknown", "", None, 0, 0, 0, Sampler("euler", "shifted"), 1.0, 0)


class UnreadableJob(ValueError):
    """A row of `jobs` cannot be read: another version wrote it, or the file is damaged."""


def read_request(connection: sqlite3.Connection, job_id: int) -> RenderRequest | None:
    """The request of a job. None for one that cannot be read."""
    row = connection.execute("SELECT request FROM jobs WHERE id = ?", (job_id,)).fetchone()
    try:
        return _REQUEST.validate_json(row["request"])
    except ValidationError:
        return None


def insert_job(connection: sqlite3.Connection, submission: Submission, created: float, estimate: float = 0.0) -> int:
    """Insert a queued job that takes about `estimate` seconds. Returns its id."""
    row = connection.execute(
        "INSERT INTO jobs (owner, task_uuid, task, request, encoding, image_uuids, ttl, warnings, created, dialect, "
        "webhook, upload, safety, estimate, traceparent, priority) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            submission.owner,
            submission.task_uuid,
            json.dumps(submission.task),
            _REQUEST.dump_json(submission.request, by_alias=True).decode(),
            _ENCODING.dump_json(submission.encoding).decode(),
            json.dumps(submission.image_uuids),
            submission.ttl,
            json.dumps(submission.warnings),
            created,
            submission.dialect,
            _WEBHOOK.dump_json(submission.webhook).decode(),
            _UPLOAD.dump_json(submission.upload).decode(),
            submission.safety,
            estimate,
            submission.traceparent,
            submission.priority,
        ),
    ).fetchone()
    return row["id"]


def prepare_job(connection: sqlite3.Connection, job_id: int, submission: Submission, estimate: float) -> None:
    """Give a job what depends on its pictures: its request and its images."""
    connection.execute(
        "UPDATE jobs SET task = ?, request = ?, image_uuids = ?, warnings = ?, estimate = ? WHERE id = ?",
        (
            json.dumps(submission.task),
            _REQUEST.dump_json(submission.request, by_alias=True).decode(),
            json.dumps(submission.image_uuids),
            json.dumps(submission.warnings),
            estimate,
            job_id,
        ),
    )


def open_inputs(connection: sqlite3.Connection) -> frozenset[Path]:
    """The files of the pictures that jobs need which have not ended. A request that cannot be read needs none."""
    requests = connection.execute("SELECT request FROM jobs WHERE state IN ('queued', 'running')")
    return frozenset(path for row in requests for path in _picture_paths(_json(row["request"])))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _picture_paths(value: Any) -> Iterator[Path]:
    """The path of each `Reference` within a stored request."""
    if isinstance(value, dict):
        if isinstance(path := value.get("path"), str) and "sha256" in value:
            yield Path(path)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _picture_paths(item)


def insert_result(connection: sqlite3.Connection, job_id: int, result: Result) -> None:
    """Insert a result with its receipt and its cache report. Replaces an earlier one of the same image."""
    connection.execute(
        "INSERT OR REPLACE INTO results (job_id, position, image_uuid, seed, seconds, unsafe, busy) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (job_id, result.index, result.image_uuid, result.seed, result.seconds, result.unsafe, result.busy),
    )
    connection.execute("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?)", (result.image_uuid, job_id, result.receipt))
    if result.cache is not None:
        report = _REPORT.dump_json(result.cache).decode()
        connection.execute("INSERT OR REPLACE INTO cache_reports VALUES (?, ?, ?)", (result.image_uuid, job_id, report))


def set_result_failure(connection: sqlite3.Connection, job_id: int, position: int | None, failure: Failure) -> None:
    """Store why a result could not be delivered."""
    query = "UPDATE results SET failure = ? WHERE job_id = ? AND position = ?"
    connection.execute(query, (failure_text(failure), job_id, position))


def hold_end(connection: sqlite3.Connection, job_id: int, state: State, failure: Failure | None) -> None:
    """Keep how a job ends until its results are delivered."""
    connection.execute(
        "UPDATE jobs SET held_end = ? WHERE id = ?", (json.dumps([state, failure_text(failure)]), job_id)
    )


def held_end(connection: sqlite3.Connection, job_id: int) -> tuple[State, Failure | None] | None:
    """How a job ends that waits for its uploads. None for another job."""
    text = connection.execute("SELECT held_end FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
    if text is None:
        return None
    state, failure = json.loads(text)
    return state, _failure(failure)


def read_job(connection: sqlite3.Connection, job_id: int) -> Job:
    """A job with its results. Raises `UnreadableJob`."""
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    results = connection.execute(_RESULTS + "WHERE results.job_id = ? ORDER BY position", (job_id,))
    try:
        submission = Submission(
            owner=row["owner"],
            dialect=row["dialect"],
            safety=row["safety"],
            traceparent=row["traceparent"],
            priority=row["priority"],
            task_uuid=row["task_uuid"],
            ttl=row["ttl"],
            **{name: read(row[name]) for name, read in _READERS.items()},
        )
        failure = _failure(row["failure"])
    except (ValueError, TypeError) as error:
        reason = validation_message(error) if isinstance(error, ValidationError) else str(error)
        raise UnreadableJob(f"job {job_id}: {reason}") from error
    return Job(
        id=row["id"],
        submission=submission,
        state=row["state"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        estimate=row["estimate"],
        failure=failure,
        results=tuple(_result(found) for found in results),
        deliveries=count_states(connection, job_id) if submission.webhook or submission.upload else {},
        tried=row["attempts"] > 1,
    )


def repair_job(connection: sqlite3.Connection, job_id: int, now: float) -> Job:
    """Replace what cannot be read of a row, so that its end can be asked for. One that has not ended fails."""
    row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    substitutes = {
        "task": json.dumps({"taskType": "imageInference", "taskUUID": row["task_uuid"]}),
        "request": _REQUEST.dump_json(UNKNOWN_REQUEST, by_alias=True).decode(),
        "encoding": _ENCODING.dump_json(Encoding("JPG", DEFAULT_QUALITY)).decode(),
        "image_uuids": "[]",
        "warnings": "[]",
        "webhook": "null",
        "upload": "null",
        "failure": failure_text(UNREADABLE),
    }
    for name, read in {**_READERS, "failure": _failure}.items():
        try:
            read(row[name])
        except (ValueError, TypeError):
            connection.execute(f"UPDATE jobs SET {name} = ? WHERE id = ?", (substitutes[name], job_id))
    connection.execute(
        "UPDATE jobs SET state = 'failed', finished = ?, failure = ? WHERE id = ? AND state IN ('queued', 'running')",
        (now, substitutes["failure"], job_id),
    )
    return read_job(connection, job_id)


def read_result(connection: sqlite3.Connection, image_uuid: str) -> Result | None:
    """The result of an image, or None."""
    row = connection.execute(_RESULTS + "WHERE image_uuid = ?", (image_uuid,)).fetchone()
    return _result(row) if row else None


def failure_text(failure: Failure | None) -> str | None:
    """A failure as its column holds it."""
    return _FAILURE.dump_json(failure).decode() if failure else None


def _failure(text: str | None) -> Failure | None:
    """The failure in a column. Before version 0.2 it was a list, without a status and with the wire's own path."""
    if text is None:
        return None
    if not text.startswith("["):
        return _FAILURE.validate_json(text)
    code, message, path = json.loads(text)
    status = {"modelNotReady": 503, "invalidModel": 400}.get(code, 500)
    return Failure(code, message, status, path)


def _result(row: sqlite3.Row) -> Result:
    *fields, failure, unsafe, busy, report = row
    try:
        cache = None if report is None else _REPORT.validate_json(report)
    except ValidationError:  # another version wrote it; the picture is there all the same
        cache = None
    checked = None if unsafe is None else bool(unsafe)
    return Result(*fields, cache=cache, failure=_failure(failure), unsafe=checked, busy=busy)


def _task(text: str) -> dict[str, Any]:
    task = json.loads(text)
    if not isinstance(task, dict):
        raise TypeError(f"a task is an object, not {type(task).__name__}")
    return task


# How each column of a submission is read.
_READERS: dict[str, Callable[[str], Any]] = {
    "task": _task,
    "request": _REQUEST.validate_json,
    "encoding": _ENCODING.validate_json,
    "image_uuids": lambda text: tuple(json.loads(text)),
    "warnings": lambda text: tuple(json.loads(text)),
    "webhook": _WEBHOOK.validate_json,
    "upload": _UPLOAD.validate_json,
}
