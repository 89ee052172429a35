"""What a client is told when a render fails. Knows errors and requests; knows no job."""

import structlog

from pipelines.errors import Fault, RenderError
from pipelines.request import RenderRequest
from server.errors import Failure, InsufficientStorage
from server.storage import MESSAGE, is_storage_error

log = structlog.get_logger()

# By what is at fault: the code and the HTTP status. Missing weights may be in place later; a wrong adapter never fits.
_FAILURES: dict[Fault, tuple[str, int]] = {
    "weights": ("modelNotReady", 503),
    "adapter": ("invalidModel", 400),
    "input": ("inferenceError", 500),
    "size": ("valueTooLarge", 413),
    "result": ("inferenceError", 500),
    "content": ("nsfwContentDetected", 400),
}


def failure_of(error: BaseException, request: RenderRequest) -> Failure:
    """What the client is told about an error. The log has it whole."""
    if isinstance(error, RenderError):
        log.info("render refused", reason=str(error), path=error.path)
        code, status = _FAILURES[error.fault]
        return Failure(code, str(error), status, error.path)
    log.error("render failed", exc_info=error)
    if isinstance(error, Exception) and is_storage_error(error):
        return Failure(InsufficientStorage.default_code, MESSAGE, InsufficientStorage.status)
    return Failure("inferenceError", _describe(error, request), 500)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error is torch's about the memory of a device, or Python's about that of the host."""
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)


def _describe(error: BaseException, request: RenderRequest) -> str:
    """The message for the client about an unforeseen error."""
    if ran_out_of_memory(error):
        size = f"{request.width}×{request.height}"
        return f"The device ran out of memory at {size}. Try a smaller size or fewer reference images."
    return "The worker failed on this task. The server's log has the details."
