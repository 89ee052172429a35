from collections.abc import Iterator

import pytest

from server import errors
from server.errors import ApiError, ConflictTaskUUID, InvalidParameter, MediaError, MissingParameter


def kinds(of: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


KINDS = {kind.__name__: kind for kind in kinds()}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_the_drawn_tree_shows_each_error_with_its_status(name: str) -> None:
    tree = errors.__doc__ or ""
    line = next(line for line in tree.splitlines() if f" {name} " in line)
    assert str(KINDS[name].status) in line.split()


def test_codes_are_derived_from_the_parameter() -> None:
    assert InvalidParameter("inputs.referenceImages[1]", "").code == "invalidReferenceImages"
    assert MissingParameter("width", "").code == "missingWidth"
    assert InvalidParameter("lora[0].model", "", code="invalidModel").code == "invalidModel"


def test_a_conflict_names_the_task_by_its_neutral_path() -> None:
    assert ConflictTaskUUID().path == "task_id"


@pytest.mark.parametrize(
    ("missing", "status", "code"), [(False, 400, "invalidSeedImage"), (True, 404, "imageNotFound")]
)
def test_a_picture_error_gets_the_name_of_its_parameter(missing: bool, status: int, code: str) -> None:
    error = MediaError("It is gone.", missing=missing).for_parameter("inputs.seedImage")
    assert (error.status, error.code, error.parameter) == (400, code, "inputs.seedImage")
    assert "It is gone." in error.message
