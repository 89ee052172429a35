"""Error objects, acknowledgements, and the body of an HTTP answer.

Keys that do not apply are omitted, never null or empty: clients fail on `"errors": []` and on a null cost. Knows no
transport and no database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from server.api.runware.parameters import parameter_of
from server.errors import ApiError, Failure

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskRef:
    """The task of an item or an error. None for a part that the client did not send."""

    task_type: str | None = None
    task_uuid: str | None = None

    @property
    def keys(self) -> Item:
        """`taskType` and `taskUUID`, without the unknown ones."""
        known = {"taskType": self.task_type, "taskUUID": self.task_uuid}
        return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one task: items, errors, or both. `status` is the HTTP status if no task succeeds.

    `retry_after` are the estimated seconds until a refused task may be accepted.
    """

    data: tuple[Item, ...] = ()
    errors: tuple[Item, ...] = ()
    status: int = 200
    warnings: tuple[str, ...] = ()
    retry_after: int | None = None


def error_object(error: ApiError | Failure, ref: TaskRef, *, documentation: str | None = None) -> Item:
    """One error in the vendor's format: code, message, parameter, its range, and the task."""
    item: Item = {"code": error.code, "message": error.message}
    if error.path is not None:
        item["parameter"] = parameter_of(error.path)
    if isinstance(error, ApiError):
        if error.parameter is not None:
            several = isinstance(error.parameter, tuple)
            item["parameter"] = list(error.parameter) if several else error.parameter
        item |= error.details
    if documentation is not None:
        item["documentation"] = documentation
    return item | ref.keys


def refusal(errors: Iterable[ApiError | Failure], ref: TaskRef, *, documentation: str | None = None) -> Answer:
    """The answer of a task that failed or was not accepted."""
    errors = tuple(errors)
    items = tuple(error_object(error, ref, documentation=documentation) for error in errors)
    retry_after = next((error.retry_after for error in errors if isinstance(error, ApiError)), None)
    return Answer(errors=items, status=errors[0].status, retry_after=retry_after)


def joined(refusals: Sequence[Answer]) -> Answer:
    """Several errors of one task as one answer, because clients count the answers. Takes at least one."""
    return replace(refusals[0], errors=tuple(error for each in refusals for error in each.errors))


def ignored_warnings(parameters: Iterable[str]) -> tuple[str, ...]:
    """A warning for each unknown parameter that the server is set to ignore."""
    return tuple(f"{name} is ignored: the API has no such parameter." for name in parameters)


def acknowledgement(ref: TaskRef) -> Answer:
    """The answer of an accepted async task: its type and UUID only. Clients read any other key as a result."""
    return Answer(data=(ref.keys,))


def http_body(answers: Sequence[Answer]) -> tuple[int, Item]:
    """Join the answers of one request into a status and a body.

    If a task succeeded, the status is 200, and there is no singular `error`: one client reads that as a failure of the
    whole request. Otherwise the status is that of the first error, and `error` repeats it.
    """
    data = [item for answer in answers for item in answer.data]
    errors = [item for answer in answers for item in answer.errors]
    failed = next((answer for answer in answers if answer.status >= 400), None)
    status = 200 if data or failed is None else failed.status
    body: Item = {"data": data}
    if errors:
        body["errors"] = errors
    if status >= 400:
        body["error"] = errors[0]
    return status, body
