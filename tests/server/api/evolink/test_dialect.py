import pytest

from server.api.evolink.dialect import EvoLinkDialect, task_code
from server.errors import (
    ApiError,
    ConflictTaskUUID,
    Failure,
    InternalServerError,
    InvalidParameter,
    NotFound,
    RateLimitExceeded,
    ServiceUnavailable,
    Unauthorized,
    ValueTooLarge,
)

DIALECT = EvoLinkDialect(None)  # type: ignore[arg-type]  # an error needs no LoRAs


@pytest.mark.parametrize(
    ("error", "code", "kind", "param"),
    [
        (InvalidParameter("n", "no"), "invalid_request", "invalid_request_error", "n"),
        (
            InvalidParameter("task_id", "no", code="invalidTaskId"),
            "invalid_task_id",
            "invalid_request_error",
            "task_id",
        ),
        (ConflictTaskUUID(), "invalid_request", "invalid_request_error", "Idempotency-Key"),
        (Unauthorized("no"), "unauthorized", "authentication_error", None),
        (NotFound("no", code="taskNotFound"), "task_not_found", "invalid_request_error", None),
        (ValueTooLarge("no"), "request_too_large", "request_too_large_error", None),
        (RateLimitExceeded("no"), "rate_limit_exceeded", "rate_limit_error", None),
        (InternalServerError("no"), "internal_error", "api_error", None),
        (ServiceUnavailable("no"), "internal_error", "api_error", None),
        (Failure("invalidModel", "no", 400, "loras[0]"), "invalid_request", "invalid_request_error", "loras[0].path"),
    ],
)
def test_an_error_object(error: ApiError | Failure, code: str, kind: str, param: str | None) -> None:
    item = {"code": code, "message": error.message, "type": kind}
    assert DIALECT.error(error) == {"error": item if param is None else item | {"param": param}}


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("taskCancelled", "", 500), "request_cancelled"),
        (Failure("modelNotReady", "", 503), "service_unavailable"),
        (Failure("taskTimedOut", "", 504), "generation_timeout"),
        (Failure("inferenceError", "", 500), "service_error"),
        (Failure("invalidModel", "", 400), "invalid_parameters"),
        (Failure("invalidImage_urls", "", 400), "image_processing_error"),
        (Failure("invalidImageDimensions", "", 400), "image_dimension_mismatch"),
    ],
)
def test_the_code_of_a_failed_task(failure: Failure, code: str) -> None:
    assert task_code(failure) == code
