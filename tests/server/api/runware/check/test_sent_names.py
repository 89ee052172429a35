from typing import Any

import pytest

from server.api.runware.check.sent_names import as_sent
from server.errors import ApiError, IncompatibleParameters, InvalidParameter


def error(name: str) -> ApiError:
    return InvalidParameter(name, f"Invalid value for '{name}' parameter.")


@pytest.mark.parametrize(
    ("task", "documented", "sent"),
    [
        ({"checkNSFW": True}, "safety.checkContent", "checkNSFW"),
        ({"checkNSFW": True, "safety": {"checkContent": True}}, "safety.checkContent", "safety.checkContent"),
        ({"trueCFGScale": 0}, "settings.trueCFGScale", "trueCFGScale"),
        ({"ultralytics": {"steps": 0}}, "advancedFeatures.ultralytics.steps", "ultralytics.steps"),
        ({"referenceImages": ["a", "b"]}, "inputs.referenceImages[1]", "referenceImages[1]"),
        ({"inputs": {"images": ["a"]}}, "inputs.referenceImages", "inputs.images"),
        ({"inputs": {"image": "a"}}, "inputs.referenceImages[0]", "inputs.image"),
        ({"inputs": {"image": "a"}}, "inputs.seedImage", "inputs.image"),
        ({"inputs": {"seedImage": "a"}}, "inputs.seedImage", "inputs.seedImage"),
        ({"acceleratorOptions": {"fbcache": 1}}, "acceleratorOptions.fbCache", "acceleratorOptions.fbcache"),
        ({"acceleratorOptions": 1}, "acceleratorOptions.fbCache", "acceleratorOptions.fbCache"),
        ({}, "inputs.maskImage", "inputs.maskImage"),
        ({"width": 1}, "width", "width"),
    ],
)
def test_an_error_names_what_was_sent(task: dict[str, Any], documented: str, sent: str) -> None:
    (found,) = as_sent([error(documented)], task)
    assert found.parameter == sent
    assert found.message == f"Invalid value for '{sent}' parameter."
    assert found.code == error(documented).code


def test_of_several_names_each_is_as_it_was_sent() -> None:
    names = ("inputs.maskImage", "inputs.seedImage")
    message = "'inputs.maskImage' needs 'inputs.seedImage'."
    (found,) = as_sent([IncompatibleParameters(message, parameter=names)], {"maskImage": "a"})
    assert found.parameter == ("maskImage", "inputs.seedImage")
    assert found.message == "'maskImage' needs 'inputs.seedImage'."


def test_an_error_without_a_parameter_stays() -> None:
    (found,) = as_sent([ApiError("why")], {"checkNSFW": True})
    assert (found.message, found.parameter) == ("why", None)
