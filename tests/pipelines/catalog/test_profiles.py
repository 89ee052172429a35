"""Which profile a model runs with, and when it is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from accel.cache.curves import Table
from accel.cache.profile import FORMAT, Fit, Profile, ProfileError, load_profile, write_profile
from pipelines.catalog.catalog import BUILT_IN, EMBEDDED, EMBEDDED_FOLDER, Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.own_lora import OwnLora
from pipelines.catalog.profiles import CalibrationKey, Profiles, profile_file, recipe_of

CATALOG = load_catalog()
REAL = CATALOG.entries[0]
SMALL = CATALOG.with_embedded_weights().entries[0]
RENDER = CalibrationKey(20, True, 1024 * 1024)
TABLE = Table((0.9, 0.1), (1.0, 2.0), 0.4, r2=0.9)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder in the layout of a model, of which only fingerprints are taken."""
    for part in ("transformer", "scheduler", "vae"):
        shutil.copytree(EMBEDDED_FOLDER / part, tmp_path / "weights" / part)
    return tmp_path / "weights"


@pytest.fixture
def catalog(weights: Path) -> Catalog:
    return Catalog((replace(REAL, weights=str(weights)),))


def save(folder: Path, weights: Path | str, name: str = "runware-108-1.toml", **changes: object) -> Profile:
    recipe = recipe_of(replace(REAL, weights=str(weights)))
    assert recipe is not None
    fits = (Fit(20, True, 1024 * 1024, table=TABLE),)
    profile = replace(Profile(FORMAT, "here", False, 0.5, fits, recipe, recipe.digest), **changes)
    write_profile(folder / name, profile)
    return profile


def test_a_profile_of_ones_own_goes_before_the_borrowed_one(catalog: Catalog, weights: Path, tmp_path: Path) -> None:
    (entry,) = catalog.entries
    borrowed, said = Profiles(catalog, tmp_path).choose(entry, RENDER)
    assert borrowed is not None
    assert (borrowed.name, said) == ("qwen_image", ())
    save(tmp_path, weights)
    params, said = Profiles(catalog, tmp_path).choose(entry, RENDER)
    assert params is not None
    assert (params.name, params.factor, params.curve, said) == ("runware-108-1", 0.5, TABLE, ())


def test_a_transformer_of_its_own_has_a_recipe_of_its_own(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "bf16.safetensors"
    shutil.copy(weights / "transformer" / "diffusion_pytorch_model.safetensors", file)
    entry = replace(REAL, weights=str(weights))
    whole, own = recipe_of(entry), recipe_of(replace(entry, transformer=str(file)))
    assert whole is not None
    assert own is not None
    assert (own.schedule, own.weights == whole.weights) == (whole.schedule, False)
    assert recipe_of(replace(entry, transformer=str(tmp_path / "nowhere"))) is None


def test_the_loras_of_a_row_change_its_recipe(weights: Path, tmp_path: Path) -> None:
    (file := tmp_path / "fast.safetensors").write_bytes(b"lora")
    plain = replace(REAL, weights=str(weights))
    rows = [plain, *(replace(plain, loras=(OwnLora(str(file), weight),)) for weight in (1.0, 0.5))]
    recipes = [recipe_of(row) for row in rows]
    assert None not in recipes
    assert len({recipe and recipe.weights for recipe in recipes}) == 3
    file.unlink()
    assert recipe_of(rows[1]) is None


def test_a_profile_of_the_bare_model_is_refused_under_the_loras_of_a_row(weights: Path, tmp_path: Path) -> None:
    (file := tmp_path / "fast.safetensors").write_bytes(b"lora")
    entry = replace(REAL, weights=str(weights), loras=(OwnLora(str(file)),))
    save(tmp_path, weights)
    params, said = Profiles(Catalog((entry,)), tmp_path).choose(entry, RENDER)
    assert params is not None
    assert params.name == "qwen_image"
    assert "'runware-108-1' was measured on another model: recipe.weights is" in said[0]
    assert said[-1] == "The profile 'qwen_image' was measured without LoRAs."


def test_embedded_weights_of_any_models_file_have_theirs(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text(BUILT_IN.read_text().replace('"Qwen/Qwen-Image"', '"embedded"'))
    catalog = load_catalog(models)
    entry = catalog.entries[0]
    assert entry.native_area is not None
    params, said = Profiles(catalog).choose(entry, CalibrationKey(20, True, entry.native_area))
    assert params is not None
    assert (params.name, said) == ("embedded", ())


def test_the_row_of_a_model_can_name_one(catalog: Catalog, weights: Path, tmp_path: Path) -> None:
    save(tmp_path, weights, "mine.toml")
    entry = replace(catalog.entries[0], profile="mine")
    params, _ = Profiles(Catalog((entry,)), tmp_path).choose(entry, RENDER)
    assert params is not None
    assert params.name == "mine"
    shipped = replace(entry, profile="qwen_image")
    params, _ = Profiles(Catalog((shipped,)), tmp_path).choose(shipped, RENDER)
    assert params is not None
    assert params.name == "qwen_image"
    for name in ("yours", "../mine"):
        with pytest.raises(ProfileError, match="runware:108@1: profile: "):
            Profiles(Catalog((replace(entry, profile=name),)), tmp_path)


@pytest.mark.parametrize("part", ["transformer", "scheduler"])
def test_other_weights_refuse_it_and_the_borrowed_figures_run_with_a_warning(
    catalog: Catalog, weights: Path, tmp_path: Path, part: str
) -> None:
    save(tmp_path, weights)
    changed = next((weights / part).glob("*config.json"))
    changed.write_text(changed.read_text().replace("{", '{"touched": 1,', 1))
    profiles = Profiles(catalog, tmp_path)
    with capture_logs() as logs:
        profiles.warn_refused(catalog)
        params, said = profiles.choose(catalog.entries[0], RENDER)
    assert params is not None
    assert params.name == "qwen_image"
    field = {"transformer": "recipe.weights", "scheduler": "recipe.schedule"}[part]
    assert field in said[0]
    assert said[1] == "The shipped profile 'qwen_image' is used instead."
    (event,) = logs
    assert (event["log_level"], event["model"]) == ("warning", "runware:108@1")
    assert field in event["reason"]


def test_other_parts_of_the_model_do_not_matter(catalog: Catalog, weights: Path, tmp_path: Path) -> None:
    save(tmp_path, weights)
    shutil.rmtree(weights / "vae")
    params, said = Profiles(catalog, tmp_path).choose(catalog.entries[0], RENDER)
    assert params is not None
    assert (params.name, said) == ("runware-108-1", ())


@pytest.mark.parametrize(
    ("render", "field"),
    [(replace(RENDER, guided=False), "fits.guided"), (replace(RENDER, area=512 * 512), "fits.area")],
)
def test_what_was_not_measured_refuses_it(
    catalog: Catalog, weights: Path, tmp_path: Path, render: CalibrationKey, field: str
) -> None:
    save(tmp_path, weights)
    params, said = Profiles(catalog, tmp_path).choose(catalog.entries[0], render)
    assert params is not None
    assert params.name == "qwen_image"
    assert field in said[0]


def test_sizes_near_enough_are_what_was_measured(catalog: Catalog, weights: Path, tmp_path: Path) -> None:
    save(tmp_path, weights)
    params, said = Profiles(catalog, tmp_path).choose(catalog.entries[0], replace(RENDER, area=1328 * 1328))
    assert params is not None
    assert (params.name, said) == ("runware-108-1", ())


def test_embedded_weights_that_changed_are_computed_in_full(tmp_path: Path) -> None:
    """There is nothing to borrow for them."""
    recipe = load_profile(EMBEDDED).recipe
    assert recipe is not None
    profiles = Profiles(Catalog((SMALL,)), tmp_path)
    profiles._recipes[SMALL.files, SMALL.loras] = replace(recipe, weights="0" * 64)
    params, said = profiles.choose(SMALL, replace(RENDER, area=128 * 128))
    assert params is None
    assert "recipe.weights" in said[0]
    assert said[-1] == "No profile is valid, so every step is computed."


@pytest.mark.parametrize(("steps", "guided"), [(20, True), (20, False), (28, True), (50, False)])
def test_the_embedded_weights_have_figures_for_what_they_draw(steps: int, guided: bool) -> None:
    params, said = Profiles(Catalog((SMALL,))).choose(SMALL, CalibrationKey(steps, guided, 128 * 128))
    assert params is not None
    assert (params.name, said) == (EMBEDDED, ())


def test_doubts_are_said() -> None:
    edit = CATALOG.entries[1]
    render = CalibrationKey(20, False, 1024 * 1024, loras=True)
    _, said = Profiles(CATALOG).choose(edit, render)
    assert [word in sentence for word, sentence in zip(("edits", "guidance", "LoRAs"), said, strict=True)] == [True] * 3


def test_a_profile_of_weights_that_are_not_here_yet_is_refused(tmp_path: Path, weights: Path) -> None:
    save(tmp_path, weights)
    entry = replace(REAL, weights=str(tmp_path / "nothing"))
    params, said = Profiles(Catalog((entry,)), tmp_path).choose(entry, RENDER)
    assert params is not None
    assert params.name == "qwen_image"
    assert "not on this machine" in said[0]


def test_a_corrupt_one_is_refused_at_once_naming_file_and_field(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / profile_file(catalog.entries[0])
    path.write_text("format = 1\nfits = []\n")
    with pytest.raises(ProfileError, match=r"runware-108-1\.toml: source: .*factor: "):
        Profiles(catalog, tmp_path)
