"""The error tree: everything a request can be refused for.

    ApiError                      status  code
    ├── InvalidRequest            400     invalidRequest          the body is no array of task objects
    ├── InvalidParameter          400     invalid<Parameter>      wrong type, out of range, not in the list
    ├── MissingParameter          400     missing<Parameter>
    ├── UnknownParameter          400     unknownParameter        no such name, the nearest one is offered
    ├── UnsupportedParameter      400     unsupportedParameter    known and well-formed, without effect here
    ├── IncompatibleParameters    400     incompatibleParameters  each is fine, together they are not
    ├── UnsupportedTaskType       400     unsupportedTaskType
    ├── ConflictTaskUUID          400     conflictTaskUUID        never 409: clients retry that with a new task
    ├── Unauthorized              401     missingApiKey | invalidApiKey
    ├── HostNotAllowed            403     hostNotAllowed          a name that is not ours: DNS rebinding
    ├── OriginNotAllowed          403     originNotAllowed        a WebSocket of a foreign web page
    ├── NotFound                  404     taskNotFound | imageNotFound | routeNotFound
    ├── MethodNotAllowed          405     unsupportedMethod
    ├── RequestTimeout            408     requestTimeout          the body did not come in time
    ├── ValueTooLarge             413     valueTooLarge
    ├── UnsupportedContentType    415     unsupportedContentType  a form of a foreign web page
    ├── RateLimitExceeded         429     rateLimitExceeded       the queue is full, or the key has used its part
    ├── InferenceError            500     inferenceError          the worker failed
    ├── TaskCancelled             500     taskCancelled
    ├── InternalServerError       500     internalServerError     a bug; the log has the trace, the client never
    ├── ServiceUnavailable        503     serviceUnavailable      starting or stopping
    └── InsufficientStorage       507     insufficientStorage     the disk of the data folder is full

    MediaError                    a picture that cannot be used; the caller adds the parameter
    TaskRejected                  one task, all the errors found in it

    Failure                       why an accepted task ended without its images: data, kept with the job

Knows no wire format: each dialect renders these in its own shape. Codes are Runware's vocabulary, because its clients
sort errors by the code's prefix and suffix.
"""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an accepted task failed, kept whole from the worker to the wire.

    `status` is the HTTP status for a client that waits. `path` is the part of the `RenderRequest` at fault, such as
    `loras[1]`; each dialect has its own name for it.
    """

    code: str
    message: str
    status: int
    path: str | None = None


class ApiError(Exception):
    """A refusal with a stable code, an HTTP status and the part of the request at fault.

    A dialect that raises one says which of its parameters is at fault. What all dialects share says a neutral `path`,
    as in `Failure`. `details` are the optional members of an error object: type, min, max, multiplier, default,
    allowedValues. `retry_after` are the seconds until the same request may succeed, None where that is not known.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internalServerError"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        parameter: str | tuple[str, ...] | None = None,
        path: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.parameter = parameter
        self.path = path
        self.details = details or {}
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """The body as a whole cannot be read as tasks."""

    status, default_code = 400, "invalidRequest"


class InvalidParameter(ApiError):
    """One parameter has the wrong type or value; the code is derived from its name."""

    status, default_code = 400, "invalidParameter"

    def __init__(
        self, parameter: str, message: str, *, code: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message, code=code or _named("invalid", parameter), parameter=parameter, details=details)


class MissingParameter(ApiError):
    """A required parameter is absent; the code is derived from its name."""

    status, default_code = 400, "missingParameter"

    def __init__(self, parameter: str, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, code=_named("missing", parameter), parameter=parameter, details=details)


class UnknownParameter(ApiError):
    """A parameter that the API does not have."""

    status, default_code = 400, "unknownParameter"


class UnsupportedParameter(ApiError):
    """A valid parameter without effect on this server or this model."""

    status, default_code = 400, "unsupportedParameter"


class IncompatibleParameters(ApiError):
    """Parameters that exclude or need each other."""

    status, default_code = 400, "incompatibleParameters"


class UnsupportedTaskType(ApiError):
    """A taskType that is unknown or not served here."""

    status, default_code = 400, "unsupportedTaskType"


class ConflictTaskUUID(ApiError):
    """The id of the task is taken."""

    status, default_code = 400, "conflictTaskUUID"

    def __init__(self) -> None:
        message = "A task with this taskUUID has been accepted before. Use getResponse to get its results."
        super().__init__(message, path="task_id")


class Unauthorized(ApiError):
    """No API key, or an unknown one."""

    status, default_code = 401, "invalidApiKey"


class HostNotAllowed(ApiError):
    """The `Host` header has a name that is not this server's."""

    status, default_code = 403, "hostNotAllowed"


class OriginNotAllowed(ApiError):
    """A page of this origin may not use the server."""

    status, default_code = 403, "originNotAllowed"


class NotFound(ApiError):
    """A task, an image or a path that does not exist, or has expired."""

    status, default_code = 404, "routeNotFound"


class MethodNotAllowed(ApiError):
    """The path exists, but not with this HTTP method."""

    status, default_code = 405, "unsupportedMethod"


class RequestTimeout(ApiError):
    """The body of a request comes too slowly, or not at all."""

    status, default_code = 408, "requestTimeout"


class ValueTooLarge(ApiError):
    """The body, or a picture, is over a limit."""

    status, default_code = 413, "valueTooLarge"


class UnsupportedContentType(ApiError):
    """A page of another origin sends a content type that browsers send unasked."""

    status, default_code = 415, "unsupportedContentType"


class RateLimitExceeded(ApiError):
    """The queue is full, or the key has used its part; the same request may be sent again later."""

    status, default_code = 429, "rateLimitExceeded"


class InferenceError(ApiError):
    """The worker failed on an accepted task."""

    status, default_code = 500, "inferenceError"


class TaskCancelled(ApiError):
    """An accepted task was cancelled before it was done."""

    status, default_code = 500, "taskCancelled"


class InternalServerError(ApiError):
    """A bug of this server. The client gets no details."""

    status, default_code = 500, "internalServerError"


class ServiceUnavailable(ApiError):
    """The server is starting or stopping."""

    status, default_code = 503, "serviceUnavailable"


class InsufficientStorage(ApiError):
    """The disk of the data folder is full."""

    status, default_code = 507, "insufficientStorage"


class MediaError(Exception):
    """A picture that cannot be used, in words for its sender.

    `missing` is true for a picture that has expired or never existed, and false for one that cannot be read.
    """

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.missing = missing

    def for_parameter(self, parameter: str) -> InvalidParameter:
        """The refusal of the parameter that named the picture."""
        code = "imageNotFound" if self.missing else None
        message = f"Invalid value for '{parameter}' parameter. {self.message}"
        return InvalidParameter(parameter, message, code=code, details={"type": "string"})


class TaskRejected(Exception):
    """One task is refused, with every error found in it. Never empty."""

    def __init__(self, *errors: ApiError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


def _named(prefix: str, parameter: str) -> str:
    """`inputs.referenceImages[0]` → `invalidReferenceImages`; `lora[0].weight` → `invalidLora`."""
    path = [part.split("[")[0] for part in parameter.split(".")]
    name = path[1] if path[0] in ("inputs", "advancedFeatures") and len(path) > 1 else path[0]
    return prefix + name[:1].upper() + name[1:]
