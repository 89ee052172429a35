import pytest

from server.api.runware.parameters import parameter_of


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("prompt", "positivePrompt"),
        ("negative_prompt", "negativePrompt"),
        ("width", "width"),
        ("seed_image", "inputs.seedImage"),
        ("mask", "inputs.maskImage"),
        ("references[12]", "inputs.referenceImages[12]"),
        ("loras[1]", "lora[1].model"),
        ("controls[0]", "controlNet[0].model"),
        ("controls[3].control_image", "controlNet[3].guideImage"),
        ("lora[0].model", "lora[0].model"),  # as rows of version 0.1 have it
    ],
)
def test_each_part_of_a_request_has_a_name_on_the_wire(path: str, parameter: str) -> None:
    assert parameter_of(path) == parameter
