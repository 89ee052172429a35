import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from accel.cache.profile import Measured, Recipe, load_profile
from accel.calibration.fit import CalibrationError
from ownware.calibration import CalibrationOptions, compare_with, find_gaps, load_prompts
from ownware.options import OptionError
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import recipe_of

PLAIN, EDIT = load_catalog().entries[:2]
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


EXISTING = replace(
    load_profile("embedded"),
    recipe=recipe_of(EMBEDDED),
    measured=Measured(20, "text_to_image", "float32"),
)
FULL = CalibrationOptions.parse(None, "20,28", "256", "4,1")


@pytest.mark.parametrize(
    ("options", "prompts", "dtype", "lacking"),
    [
        (FULL, 20, "float32", []),
        (FULL, 30, "float32", []),
        (FULL, 6, "float32", ["20 prompts and not 6"]),
        (FULL, 20, "bfloat16", ["text_to_image in float32 and not text_to_image in bfloat16"]),
        (parse("20", "256", "4,1"), 20, "float32", ["28 steps with guidance on", "28 steps with guidance off"]),
        (parse("20,28", "256", "4"), 20, "float32", ["20 steps with guidance off", "28 steps with guidance off"]),
    ],
)
def test_what_an_existing_profile_has_more(
    options: CalibrationOptions, prompts: int, dtype: str, lacking: list[str]
) -> None:
    found = compare_with(EXISTING, options, EMBEDDED, [("a", ())] * prompts, dtype)
    assert len(found) == len(lacking)
    assert all(sentence.startswith(start) for sentence, start in zip(found, lacking, strict=True))


def test_another_size_is_not_covered() -> None:
    plain = replace(EMBEDDED, native_area=None)
    existing = replace(EXISTING, fits=(replace(EXISTING.fits[0], area=1024 * 1024),))
    assert compare_with(existing, parse("20", "512", "4"), plain, [("a", ())] * 20, "float32") == (
        "20 steps with guidance on at 1048576 pixels",
    )
    assert compare_with(existing, parse("20", "1328", "4"), plain, [("a", ())] * 20, "float32") == ()


def test_a_profile_of_other_weights_keeps_nothing_back() -> None:
    other = Recipe("x", "y")
    existing = replace(EXISTING, recipe=other, recipe_hash=other.digest)
    assert compare_with(existing, parse("4", "256", "1"), EMBEDDED, [("a", ())] * 5, "float32") == ()


def test_what_is_not_measured_of_the_default_use_is_said() -> None:
    prompts = [("a", ())] * 30
    assert find_gaps(parse("20", "1024", "4"), replace(PLAIN, steps=20, true_cfg_scale=4.0), prompts) == ()
    gaps = find_gaps(parse("8", "512", "1"), replace(PLAIN, steps=20, true_cfg_scale=4.0), prompts[:6])
    assert [gap.split(" are ")[0].split(" is ")[0] for gap in gaps] == [
        "6 prompts",
        "the model's own 20 steps",
        "the model's own guidance of 4",
        "262144 pixels",
    ]
