import pytest

from pipelines.catalog.models_file import load_catalog
from server.api.openai_images.dialect import NAME, OpenAIDialect, status_of
from server.errors import (
    ApiError,
    Failure,
    IncompatibleParameters,
    InvalidParameter,
    RateLimitExceeded,
    ServiceUnavailable,
    TaskCancelled,
    Unauthorized,
)

DIALECT = OpenAIDialect(None, None)  # type: ignore[arg-type]  # an error needs neither LoRAs nor media


@pytest.mark.parametrize(
    ("error", "kind", "param", "code"),
    [
        (InvalidParameter("n", "no"), "invalid_request_error", "n", "invalid_n"),
        (IncompatibleParameters("no", parameter=("a", "b")), "invalid_request_error", "a", "incompatible_parameters"),
        (
            Unauthorized("no", code="missingApiKey", path="api_key"),
            "authentication_error",
            "api_key",
            "invalid_api_key",
        ),
        (RateLimitExceeded("full"), "rate_limit_error", None, "rate_limit_exceeded"),
        (ServiceUnavailable("no"), "server_error", None, "service_unavailable"),
        (Failure("invalidModel", "no", 400, "loras[1]"), "invalid_request_error", "loras[1].path", "invalid_model"),
        (Failure("inferenceError", "no", 500, "references[0]"), "server_error", "image[0]", "inference_error"),
    ],
)
def test_an_error_object(error: ApiError | Failure, kind: str, param: str | None, code: str) -> None:
    assert DIALECT.error(error) == {"error": {"message": error.message, "type": kind, "param": param, "code": code}}


def test_a_cancelled_task_is_not_sent_again_by_the_vendors_clients() -> None:
    assert status_of(TaskCancelled("cancelled")) == 400
    assert status_of(Failure("taskCancelled", "cancelled", 500)) == 400
    assert status_of(ServiceUnavailable("no")) == 503


def test_the_vendors_names_stand_for_a_model_of_each_kind() -> None:
    named = load_catalog().named(NAME, "gpt-image-1")
    assert [entry.mode for entry in named] == ["text_to_image", "edit", "edit_plus"]
