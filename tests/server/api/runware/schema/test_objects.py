import inspect

import pytest
from pydantic import ValidationError

from server.api.runware.schema import objects
from server.api.runware.schema.objects import AcceleratorOptions, Inputs, Lora, WireModel

OBJECTS = [
    kind
    for _, kind in inspect.getmembers(objects, inspect.isclass)
    if issubclass(kind, WireModel) and kind is not WireModel
]
MADE_OF = {"Lora": {"model": "x"}, "ControlNet": {"model": "x", "guideImage": "y"}}


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.__name__)
def test_each_object_is_frozen_and_knows_its_names_only(kind: type[WireModel]) -> None:
    made = kind.model_validate(MADE_OF.get(kind.__name__, {}))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, next(iter(kind.model_fields)), None)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind.model_validate(MADE_OF.get(kind.__name__, {}) | {"nothing": 1})


def test_nothing_is_asked_for_unless_it_is_sent() -> None:
    options = AcceleratorOptions()
    assert {options.fbCache, options.teaCache, options.dbCache} == {False}
    assert Inputs().referenceImages == ()
    assert Lora(model="x").model_fields_set == {"model"}
