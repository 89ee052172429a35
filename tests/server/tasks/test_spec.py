from dataclasses import replace

from server.tasks.spec import ControlSpec
from tests.server.tasks.common import SPEC

CONTROL = ControlSpec("union", "/nets/union", "guide", 1.0, "balanced", 0, 20)


def test_each_picture_has_a_path() -> None:
    assert SPEC.pictures == {}
    spec = replace(SPEC, references=("a", "b"), seed_image="c", mask="d", controls=(CONTROL, CONTROL))
    assert spec.pictures == {
        "references[0]": "a",
        "references[1]": "b",
        "seed_image": "c",
        "mask": "d",
        "controls[0].control_image": "guide",
        "controls[1].control_image": "guide",
    }


def test_pictures_get_other_texts() -> None:
    spec = replace(SPEC, references=("a", "b"), seed_image="a", controls=(CONTROL,))
    changed = spec.with_pictures({"a": "1", "guide": "2"})
    assert list(changed.pictures.values()) == ["1", "b", "1", "2"]
    assert replace(changed, references=spec.references, seed_image="a", controls=spec.controls) == spec


def test_a_part_is_called_what_the_client_calls_it() -> None:
    spec = replace(SPEC, parameters={"references[0]": "image"})
    assert (spec.parameter("references[0]"), spec.parameter("references[1]")) == ("image", "references[1]")
