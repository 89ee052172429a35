from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from accel.cache.plan import CacheName, CachePlan
from benchmarks.step_caches.variants import DEFAULT, SettingsError, load_settings, make_variants
from pipelines.catalog.models_file import load_catalog
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import CACHES, cache_plan

ENTRY = load_catalog().entries[0]
STRATEGY = '[[settings]]\nstrategy = "fbcache"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("direction", ["documented", "library"])
def test_the_wire_is_translated_by_the_server(direction: Any) -> None:
    for setting in load_settings():
        if setting.wire is None:
            continue
        options = AcceleratorOptions.model_validate(setting.options)
        assert setting.plan(ENTRY, 20, direction) == cache_plan(options, ENTRY, 20, direction)


def test_the_built_in_ones_have_four_thresholds_of_each_cache() -> None:
    variants, notes = make_variants(load_settings(DEFAULT), ENTRY, 20, "documented")
    assert notes == [note for note in notes if "borrowed" in note]
    for cache, strategy in CACHES.items():
        plans = {
            variant.plan
            for variant in variants
            if variant.family == cache and len(variant.options) == 2 and variant.on_wire
        }
        assert len(plans) >= 4
        assert {cast("CachePlan", plan).strategy for plan in plans} == {strategy}


@pytest.mark.parametrize(("steps", "shorter"), [(20, [18, 16, 14, 12, 10, 8]), (2, [1]), (1, [])])
def test_every_run_has_its_floors_and_the_curve_of_fewer_steps(steps: int, shorter: list[int]) -> None:
    variants, _ = make_variants((), ENTRY, steps, "documented")
    assert [variant.kind for variant in variants[:2]] == ["uncached", "other_kernel"]
    assert [variant.executed for variant in variants if variant.kind == "fewer_steps"] == shorter


def test_a_cache_that_stays_off_is_not_measured() -> None:
    variants, notes = make_variants(load_settings(), ENTRY, 8, "documented")
    # At 8 steps only a window of its own switches a cache of the wire on.
    assert all("cacheStartStepPercentage" in variant.options for variant in variants if variant.on_wire)
    assert sum(variant.on_wire for variant in variants) == 2
    assert sum(note.startswith("not measured: ") for note in notes) == 14
    assert "fbCache 0.25 at 8 steps: acceleratorOptions.fbCache is ignored" in " ".join(notes)


@pytest.mark.parametrize("strategy", get_args(CacheName))
def test_any_strategy_can_be_named(strategy: str, tmp_path: Path) -> None:
    profile = '\nprofile = "embedded"' if strategy == "teacache" else ""
    path = written(tmp_path, f'[[settings]]\nstrategy = "{strategy}"\nthreshold = 0.5\nmax_run = 2{profile}')
    (setting,) = load_settings(path)
    plan, said = setting.plan(ENTRY, 20, "documented")
    assert not said
    assert plan is not None
    assert (plan.strategy, plan.threshold, plan.start, plan.end, plan.max_run) == (strategy, 0.5, 3, 18, 2)
    assert setting.name.startswith(f"{strategy} 0.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings: Field required"),
        ("settings = 3", "settings: "),
        ("settings = []", "settings: "),
        ("[[settings]", "Expected"),
        ("[[settings]]\nacceleratorOptions = {}", "settings.0.acceleratorOptions: switch one cache on, not 0"),
        (
            "[[settings]]\nacceleratorOptions = { fbCache = true, teaCache = true }",
            "settings.0.acceleratorOptions: switch one cache on, not 2",
        ),
        (
            "[[settings]]\nacceleratorOptions = { fbCache = true, fbCacheThreshold = 2 }",
            "settings.0.acceleratorOptions: fbCacheThreshold: Input should be less than or equal to 1",
        ),
        ("[[settings]]\nacceleratorOptions = { fbcache = true }", "settings.0.acceleratorOptions: fbcache: Extra"),
        (
            "[[settings]]\nthreshold = 1\nacceleratorOptions = { fbCache = true }",
            "'threshold' beside acceleratorOptions",
        ),
        ('[[settings]]\nstrategy = "nocache"\nthreshold = 1', "settings.0: strategy: Input should be"),
        ('[[settings]]\nstrategy = "fbcache"', "settings.0: threshold: "),
        (
            '[[settings]]\nstrategy = "fbcache"\nthreshhold = 1',
            "settings.0: there is no 'threshhold'; did you mean 'threshold'?",
        ),
        ('[[settings]]\nstrategy = "teacache"\nthreshold = 1\nprofile = "x"', "settings.0.profile: there is no 'x'"),
        ("[[settings]]\nname = 3\nacceleratorOptions = { fbCache = true }", "settings.0: the name is a text"),
        (
            '[[settings]]\nstrategy = "teacache"\nthreshold = 0.3',
            "settings.0: strategy 'teacache' needs a profile; there are ",
        ),
        (STRATEGY + "threshold = -0.1", "settings.0: threshold: Input should be greater than or equal to 0"),
        (STRATEGY + "threshold = nan", "settings.0: threshold: Input should be"),
        (STRATEGY + "threshold = inf", "settings.0: threshold: Input should be a finite number"),
        (STRATEGY + 'threshold = "0.5"', "settings.0: threshold: Input should be a valid number"),
        (STRATEGY + "threshold = true", "settings.0: threshold: Input should be a valid number"),
        (STRATEGY + "threshold = 1\nmax_run = 0", "settings.0: max_run: Input should be greater than or equal to 1"),
        (STRATEGY + "threshold = 1\nmax_run = 2.0", "settings.0: max_run: Input should be a valid integer"),
        (STRATEGY + "threshold = 1\nstart = -1", "settings.0: start: Input should be greater than or equal to 0"),
        (STRATEGY + "threshold = 1\nstart = 9\nend = 9", "settings.0: start 9 is not before end 9"),
        (
            STRATEGY + 'threshold = 1\nprofile = "embedded"',
            "settings.0.profile: only strategy 'teacache' reads a profile",
        ),
        (STRATEGY + 'threshold = 1\ncurve = "x"', "settings.0: there is no 'curve'"),
        ("[[settings]]\nstrategy = 3\nthreshold = 1", "settings.0: strategy: Input should be"),
        (
            '[[settings]]\nstrategy = "easycache"\nthreshold = 1\nextrapolate = true',
            "settings.0.extrapolate: only fbcache and dbcache",
        ),
        ("[[settings]]\nacceleratorOptions = 3", "settings.0.acceleratorOptions: Input should be"),
        ("[[setting]]\nname = 'x'", "setting"),
        (2 * "[[settings]]\nacceleratorOptions = { fbCache = true }\n", "named more than once: fbCache"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_setting_under_two_names_is_measured_once(tmp_path: Path) -> None:
    rows = [f'[[settings]]\nname = "{name}"\nstrategy = "fbcache"\nthreshold = 0.5\n' for name in ("one", "two")]
    variants, notes = make_variants(load_settings(written(tmp_path, "".join(rows))), ENTRY, 20, "documented")
    assert [variant.name for variant in variants if variant.kind == "cache"] == ["one"]
    assert notes == ["not measured: two at 20 steps: it does the same as one."]


def test_a_window_without_a_step_is_not_measured(tmp_path: Path) -> None:
    path = written(tmp_path, STRATEGY + "threshold = 0.5\nstart = 30")
    variants, notes = make_variants(load_settings(path), ENTRY, 20, "documented")
    assert not [variant for variant in variants if variant.kind == "cache"]
    assert "No step from 30 up to 18 can be reused" in notes[0]


def test_the_warnings_of_a_setting_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "[[settings]]\nacceleratorOptions = { fbCache = true, teaCacheDistance = 0.2 }")
    _, notes = make_variants(load_settings(path), ENTRY, 20, "documented")
    assert "acceleratorOptions.teaCacheDistance is ignored: teaCache is not switched on." in notes[0]


def test_a_profile_of_other_weights_is_refused_at_the_start(tmp_path: Path) -> None:
    path = written(tmp_path, '[[settings]]\nstrategy = "teacache"\nthreshold = 0.3\nprofile = "embedded"')
    settings = load_settings(path)
    embedded = load_catalog().with_embedded_weights().entries[0]
    assert make_variants(settings, embedded, 20, "documented")[1] == []
    other = tmp_path / "weights"
    for part in ("transformer", "scheduler"):
        (other / part).mkdir(parents=True)
        (other / part / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match="profile 'embedded' was measured on another model"):
        make_variants(settings, replace(ENTRY, weights=str(other)), 20, "documented")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_settings(tmp_path / "nothing.toml")
