import pytest

from server.errors import ApiError, Failure, IncompatibleParameters, InvalidParameter, NotFound
from server.tasks.plain.parameter_names import parameter_at_fault, parameter_name

NAMES = {"prompt": "positivePrompt", "references[]": "image[]", "mask": "mask_url", "loras[]": "loras"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("prompt", "positivePrompt"),
        ("references[12]", "image[12]"),
        ("loras[1]", "loras"),
        ("controls[0]", "controls[0]"),
        ("width", "width"),
    ],
)
def test_the_name_of_a_path(path: str, name: str) -> None:
    assert parameter_name(path, NAMES) == name


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (InvalidParameter("size", "no"), "size"),
        (IncompatibleParameters("no", parameter=("mask", "size")), "mask"),
        (NotFound("no", path="references[1]"), "image[1]"),
        (NotFound("no"), None),
        (Failure("invalidImage", "no", 400, "prompt"), "positivePrompt"),
        (Failure("inferenceError", "no", 500), None),
    ],
)
def test_the_part_at_fault(error: Failure | ApiError, name: str | None) -> None:
    assert parameter_at_fault(error, NAMES) == name
