import numpy as np
import pytest

from training.data.captions import LOW_QUALITY
from training.data.edits import random_edit
from training.data.prompts import drop_some, pick_mode, random_prompt
from training.data.random_scenes import random_scene


def test_a_blurred_picture_is_called_so() -> None:
    rng = np.random.default_rng(0)
    marks = tuple(LOW_QUALITY.values())
    for _ in range(20):
        scene = random_scene(rng)
        assert random_prompt(scene, True, rng).endswith(marks)
        assert not random_prompt(scene, False, rng).endswith(marks)


def test_an_edit_has_its_instruction() -> None:
    rng = np.random.default_rng(0)
    edit = random_edit(rng, "recolour")
    assert random_prompt(edit, False, rng).lower() in {text.lower() for text in (*edit.english, edit.chinese)}


def test_a_tenth_of_the_prompts_is_dropped() -> None:
    texts = drop_some(["a"] * 5000, np.random.default_rng(0))
    assert set(texts) == {"a", "", " "}
    assert texts.count("a") / len(texts) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("pictures", "modes"), [(0, {"text_to_image"}), (1, {"edit", "edit_plus"}), (2, {"edit_plus"})]
)
def test_the_template_follows_the_number_of_pictures(pictures: int, modes: set[str]) -> None:
    rng = np.random.default_rng(0)
    assert {pick_mode(pictures, rng) for _ in range(100)} == modes
