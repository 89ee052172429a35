import pytest

from server.tasks.plain.parameter_names import parameter_name

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
