from typing import Any

import pytest

from server.api.fields.validation import validate
from server.api.runpod.schema import JobBody, JobInput
from server.errors import TaskRejected

# As the vendor's page shows it.
PUBLISHED = {
    "prompt": "change the trench coat and high heels color to light grey",
    "negative_prompt": "",
    "seed": -1,
    "image": "https://example.com/fashion-photo.png",
    "output_format": "png",
    "enable_safety_checker": True,
}


def test_the_published_input() -> None:
    found = validate(JobInput, PUBLISHED)
    assert (found.seed, found.image, found.output_format) == (None, (PUBLISHED["image"],), "PNG")


@pytest.mark.parametrize(
    ("model", "value", "parameter"),
    [
        (JobBody, {}, "input"),
        (JobBody, {"input": []}, "input"),
        (JobBody, {"input": {}, "webhook": "box"}, "webhook"),
        (JobBody, {"input": {}, "policy": 5}, "policy"),
        (JobBody, {"input": {}, "policy": {"executionTimeout": 4999}}, "policy.executionTimeout"),
        (JobBody, {"input": {}, "policy": {"ttl": 9999}}, "policy.ttl"),
        (JobBody, {"input": {}, "policy": {"ttl": 604_800_001}}, "policy.ttl"),
        (JobInput, {}, "prompt"),
        (JobInput, {"prompt": 5}, "prompt"),
        (JobInput, {"prompt": "a", "num_inference_steps": "8"}, "num_inference_steps"),
    ],
)
def test_a_wrong_value_is_named(model: Any, value: dict[str, Any], parameter: str) -> None:
    with pytest.raises(TaskRejected) as caught:
        validate(model, value)
    assert [error.parameter for error in caught.value.errors] == [parameter]
