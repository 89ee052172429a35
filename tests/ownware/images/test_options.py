import re
from dataclasses import fields
from typing import Unpack, get_type_hints

import ownware
from ownware.images.options import Arguments, Control, ImageOptions
from pipelines.request import ControlUse, RenderRequest

# What the API calls otherwise, because it takes something else: images for files, a name for a sampler.
RENAMED = {"images": "references", "scheduler": "sampler"}
# Two options of the API make one field.
GUARD = {"align_to", "keep_unchanged"}


def test_options_are_named_as_the_fields_of_a_request() -> None:
    names = {RENAMED.get(field.name, field.name) for field in fields(ImageOptions)}
    # A call renders one image. Faces are refined, and watermarks drawn, by the server only.
    assert {field.name for field in fields(RenderRequest)} - names == {"count", "faces", "watermark", "guard"}
    assert names - GUARD <= {field.name for field in fields(RenderRequest)}


def test_a_control_is_named_as_the_fields_of_its_use() -> None:
    names = {field.name for field in fields(Control)} - {"model", "image"}
    assert names == {field.name for field in fields(ControlUse)} - {"name", "weights", "control_image"}


def test_both_functions_take_every_option() -> None:
    options = {field.name for field in fields(ImageOptions)}
    assert set(Arguments.__annotations__) == options - {"prompt", "images"}
    for function, own in ((ownware.generate, {"prompt"}), (ownware.edit, {"prompt", "images"})):
        hints = get_type_hints(function, include_extras=True)
        assert hints.pop("options") == Unpack[Arguments]
        assert set(hints) == own | {"weights", "device", "on_step", "return"}


def test_generate_describes_every_argument() -> None:
    described = set(re.findall(r"^        (\w+): ", ownware.generate.__doc__ or "", re.MULTILINE))
    assert described >= {"prompt", "weights", "device", "on_step", *Arguments.__annotations__}
