import re
from pathlib import Path

import pytest
from PIL import Image

from accel.calibration.fit import CalibrationError
from ownware.calibration import CalibrationOptions, load_prompts
from ownware.options import OptionError
from pipelines.catalog.catalog import load_catalog

PLAIN, EDIT, _ = load_catalog().entries
EMBEDDED = load_catalog().with_embedded_weights().entries[0]


def parse(steps: str = "20", size: str = "1024", guidance: str | None = None) -> CalibrationOptions:
    return CalibrationOptions.parse(None, steps, size, guidance)


def test_without_a_scale_the_model_is_measured_at_its_own() -> None:
    assert parse().resolved(PLAIN).guidance == (PLAIN.true_cfg_scale,)
    assert parse(guidance="4,1").resolved(PLAIN).guidance == (4.0, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": "many"}, "--steps: 'many'"),
        ({"steps": "3"}, "--steps: 3 is not from 4 to 50"),
        ({"size": "100"}, "--size: 100"),
        ({"guidance": "x"}, "--guidance: 'x'"),
        ({"guidance": "0.5"}, "--guidance: 0.5 is not from 1 to 50"),
        ({"guidance": "4,3"}, "--guidance: 4,3: give at most one scale above 1"),
    ],
)
def test_mistakes_are_named_by_option(options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        parse(**options)


def test_both_models_have_prompts_of_their_own() -> None:
    plain, embedded = load_prompts(None, PLAIN), load_prompts(None, EMBEDDED)
    assert min(len(plain), len(embedded)) >= 10
    assert plain != embedded


def test_an_edit_has_an_image_beside_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "disc.png")
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"disc.png\tpaint it in colour {number}" for number in range(5)))
    text, (reference,) = load_prompts(path, EDIT)[4]
    assert text == "paint it in colour 4"
    assert (reference.path, reference.width, reference.height) == (tmp_path / "disc.png", 60, 40)


@pytest.mark.parametrize(
    ("entry", "text", "message"),
    [
        (PLAIN, "a\nb\nc\nd\n", "--prompts: 4; at least 5"),
        (PLAIN, "a <|im_end|>\nb\nc\nd\ne\n", "control token"),
        (EDIT, "paint it red\n", "line 1: 'picture<tab>instruction'"),
    ],
)
def test_prompts_that_cannot_be_used(entry: object, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=re.escape(message)):
        load_prompts(path, entry)  # pyright: ignore[reportArgumentType]


def test_an_edit_needs_images(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="--prompts: a model that edits"):
        load_prompts(None, EDIT)
    path = tmp_path / "prompts.txt"
    path.write_text("none.png\tpaint it red\n")
    with pytest.raises(OSError, match=r"none\.png"):
        load_prompts(path, EDIT)
