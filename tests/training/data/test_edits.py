import numpy as np
import pytest

from training.data.edits import KINDS, Kind, random_edit
from training.data.scenes import draw_scene, held_out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of_held_out", [False, True])
def test_an_edit_changes_the_picture_and_says_how(kind: Kind, of_held_out: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        edit = random_edit(rng, kind, of_held_out=of_held_out)
        assert edit.kind == kind
        assert len(edit.sources) == (2 if kind == "combine" else 1)
        assert (draw_scene(edit.sources[0], 64, 64) != draw_scene(edit.target, 64, 64)).any()
        assert (held_out(edit.sources[0]) or held_out(edit.target)) == of_held_out
        assert edit.instruction(rng)


def test_keeping_changes_nothing() -> None:
    edit = random_edit(np.random.default_rng(0), "keep")
    assert edit.sources == (edit.target,)


def test_a_recoloured_thing_is_named_as_it_was() -> None:
    edit = random_edit(np.random.default_rng(3), "recolour")
    source, target = set(edit.sources[0].things), set(edit.target.things)
    (before,), (after,) = source - target, target - source
    assert all(f"{before.colour} {before.shape}" in text for text in edit.english)
    assert all(text.endswith(after.colour) for text in edit.english)
    assert (before.shape, before.place, before.size) == (after.shape, after.place, after.size)
