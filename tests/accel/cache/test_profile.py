from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.curves import Polynomial, Table
from accel.cache.profile import (
    FOLDER,
    FORMAT,
    Fit,
    Measured,
    Profile,
    ProfileError,
    Recipe,
    load_profile,
    profile_names,
    read_profile,
    write_profile,
)
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import recipe_of

RECIPE = Recipe("a" * 64, "b" * 64)
FIT = Fit(20, True, 256 * 256, Polynomial((2.0, 0.0), 0.5, r2=0.7), Table((0.9, 0.1), (1.5, 3.0), 0.4, r2=0.8))
PROFILE = Profile(FORMAT, 'Measured "here"\n', False, 0.6, (FIT, replace(FIT, steps=28)), RECIPE, RECIPE.digest)


def changed(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "own.toml"
    write_profile(path, PROFILE)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_sound(name: str) -> None:
    profile = load_profile(name)
    assert profile.source
    for fit in profile.fits:
        curve = fit.curve
        for sigma in (1.0, 0.5, 0.02):
            assert curve.rescale(0.0, sigma) == 0.0
            changes = [curve.rescale(curve.max_distance * part / 100, sigma) for part in range(101)]
            assert all(0 <= change < 5 for change in changes)
            assert max(changes) > 0
        assert (curve.r2 or 0) >= 0.6, f"{name}: no better than chance on prompts that were held out"


def test_there_is_one_for_each_kind_of_weights() -> None:
    assert load_profile("qwen_image").borrowed
    assert load_profile("qwen_image").recipe is None
    embedded = load_profile("embedded")
    assert {(fit.steps, fit.guided) for fit in embedded.fits} == {(20, True), (20, False), (28, True), (28, False)}


def test_the_embedded_profile_was_measured_on_the_embedded_weights() -> None:
    assert load_profile("embedded").recipe == recipe_of(load_catalog().with_embedded_weights().entries[0]), (
        "the embedded checkpoint has changed since its TeaCache profile was measured: run `make profile`"
    )


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(KeyError, match="no profile 'flux'"):
        load_profile("flux")
    assert not (FOLDER / "flux.toml").exists()


def test_the_borrowed_fit_follows_what_it_was_made_from() -> None:
    """Changes of the input, and of the body's output, that its authors published for 20 steps."""
    curve = load_profile("qwen_image").nearest_fit(20).curve
    for distance, change in ((0.784, 2.11), (0.473, 0.564), (0.217, 0.594), (0.203, 0.291)):
        assert curve.rescale(distance, 0.5) == pytest.approx(change, rel=0.5)


@pytest.mark.parametrize(("steps", "nearest"), [(10, 20), (20, 20), (31, 20), (32, 50), (50, 50)])
def test_the_nearest_number_of_steps_in_ratio(steps: int, nearest: int) -> None:
    assert load_profile("qwen_image").nearest_fit(steps).steps == nearest


def test_guidance_goes_before_steps_and_area_counts_too() -> None:
    others = (replace(FIT, guided=False), replace(FIT, steps=50), replace(FIT, area=1024 * 1024))
    profile = replace(PROFILE, fits=(FIT, *others))
    assert profile.nearest_fit(50, guided=False).guided is False
    assert profile.nearest_fit(50, area=256 * 256) == others[1]
    assert profile.nearest_fit(20, area=1000 * 1000) == others[2]


@pytest.mark.parametrize(
    ("table", "polynomial", "kind"), [(0.8, 0.7, Table), (0.7, 0.8, Polynomial), (0.7, 0.7, Table)]
)
def test_the_curve_that_explains_more_is_used(table: float, polynomial: float, kind: type) -> None:
    assert FIT.table is not None
    assert FIT.polynomial is not None
    fit = replace(FIT, table=replace(FIT.table, r2=table), polynomial=replace(FIT.polynomial, r2=polynomial))
    assert isinstance(fit.curve, kind)
    assert isinstance(replace(fit, table=None).curve, Polynomial)
    assert isinstance(replace(fit, polynomial=None).curve, Table)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_profile(tmp_path / "new" / "own.toml", PROFILE)
    assert read_profile(tmp_path / "new" / "own.toml") == PROFILE


def test_a_borrowed_profile_with_one_curve_is_read_as_written(tmp_path: Path) -> None:
    fits = (replace(FIT, table=None), replace(FIT, polynomial=None))
    borrowed = replace(PROFILE, borrowed=True, recipe=None, recipe_hash=None, fits=fits)
    write_profile(tmp_path / "own.toml", borrowed)
    assert read_profile(tmp_path / "own.toml") == borrowed


def test_a_fit_needs_a_curve_and_a_profile_needs_a_fit() -> None:
    with pytest.raises(ValueError, match="polynomial, table: one of them is required"):
        replace(FIT, polynomial=None, table=None)
    with pytest.raises(ValueError, match="fits: must not be empty"):
        replace(PROFILE, fits=())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("factor = 0.6", "factor = 'much'", "factor: "),
        ("factor = 0.6", "factor = 7", "factor: "),
        ("format = 1", "format = 2", "format: 2"),
        ("format = 1", "", "format: "),
        ("steps = 20", "steps = 0", "fits.0: Value error, steps, area"),
        ("guided = true", "guided = true\nmood = 3", "fits.0.mood: "),
        ("gains = [1.5, 3.0]", "gains = [1.5]", "fits.0.table: Value error, gains"),
        ("gains = [1.5, 3.0]", "gains = [1.5, -3.0]", "fits.0.table: Value error, gains"),
        ("gains = [1.5, 3.0]", "gains = [1.5, nan]", "fits.0.table: Value error, gains"),
        ("sigmas = [0.9, 0.1]", "sigmas = [0.1, 0.9]", "fits.0.table: Value error, sigmas"),
        ("coefficients = [2.0, 0.0]", "coefficients = []", "fits.0.polynomial: Value error, coefficients"),
        ("max_distance = 0.5", "max_distance = inf", "fits.0.polynomial: Value error, max_distance"),
        ("aaaa", "cccc", "recipe_hash: "),
        ("borrowed = false", "borrowed = true", "recipe: "),
        ("format = 1", "format = ", "Invalid value"),
    ],
)
def test_a_corrupt_file_is_refused_by_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(ProfileError) as refusal:
        read_profile(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert said in str(refusal.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe")
    for name in ("own.toml", "none.toml"):
        with pytest.raises(ProfileError, match=name):
            read_profile(tmp_path / name)


def test_another_recipe_is_refused_naming_the_fields() -> None:
    PROFILE.require_recipe(Recipe("a" * 64, "b" * 64), "own")
    with pytest.raises(ProfileError, match=r"'own'.*recipe\.weights is aaaaaaaaaaaa, the model's is dddddddddddd$"):
        PROFILE.require_recipe(replace(RECIPE, weights="d" * 64), "own")
    with pytest.raises(ProfileError, match=r"recipe\.schedule.*recipe\.signal is '.*', the model's is 'another'"):
        PROFILE.require_recipe(replace(RECIPE, schedule="d" * 64, signal="another"), "own")
    with pytest.raises(ProfileError, match="not on this machine"):
        PROFILE.require_recipe(None, "own")
    load_profile("qwen_image").require_recipe(None, "qwen_image")


@pytest.mark.parametrize("measured", [None, Measured(20, "text_to_image", "float32")])
def test_what_it_was_measured_on_is_kept(measured: Measured | None, tmp_path: Path) -> None:
    write_profile(tmp_path / "own.toml", replace(PROFILE, measured=measured))
    assert read_profile(tmp_path / "own.toml").measured == measured
    assert [path.name for path in tmp_path.iterdir()] == ["own.toml"]
