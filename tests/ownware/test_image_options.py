import inspect
from dataclasses import fields

import ownware
from ownware.image_options import Control, ImageOptions
from pipelines.request import ControlUse, RenderRequest

# What the API calls otherwise, because it takes something else: images for files, a name for a sampler.
RENAMED = {"images": "references", "scheduler": "sampler"}


def test_options_are_named_as_the_fields_of_a_request() -> None:
    names = {RENAMED.get(field.name, field.name) for field in fields(ImageOptions)}
    # A call renders one image; faces are refined by the server only.
    assert {field.name for field in fields(RenderRequest)} - names == {"count", "faces"}
    assert names <= {field.name for field in fields(RenderRequest)}


def test_a_control_is_named_as_the_fields_of_its_use() -> None:
    names = {field.name for field in fields(Control)} - {"model", "image"}
    assert names == {field.name for field in fields(ControlUse)} - {"name", "weights", "control_image"}


def test_both_functions_take_every_option() -> None:
    options = {field.name for field in fields(ImageOptions)}
    how = {"weights", "device", "on_step"}
    assert set(inspect.signature(ownware.generate).parameters) == options - {"images"} | how
    assert set(inspect.signature(ownware.edit).parameters) == options | how
