from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accel.cache.profile import ProfileError, Recipe, load_profile, write_profile
from accel.calibration.traces import Header, Trace, read_traces
from ownware.options import OptionError
from ownware.simulation import Simulation, make_simulations
from pipelines.catalog.catalog import EMBEDDED
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import BORROWED, recipe_of

TRACES = Path(__file__).parents[2] / "docs" / "embedded.traces.jsonl"


@pytest.fixture(scope="module")
def header() -> Header:
    return read_traces(TRACES)[0]


@pytest.fixture(scope="module")
def trace() -> Trace:
    return read_traces(TRACES)[1][0]


def simulations(header: Header, **changes: Any) -> list[Simulation]:
    options = {"strategy": "teacache", "thresholds": [0.3], "profile": None, "window": (None, None), "max_run": 3}
    return make_simulations(**{**options, **changes}, header=header)


def test_the_traces_of_the_documentation_are_of_the_embedded_weights() -> None:
    header, traces = read_traces(TRACES)
    assert len(traces) == 3
    assert (
        header.recipe == recipe_of(load_catalog().with_embedded_weights().entries[0]) == load_profile(EMBEDDED).recipe
    ), "run `make profile`"
    assert TRACES.stat().st_size < 100_000


def test_a_higher_threshold_never_reuses_less(header: Header, trace: Trace) -> None:
    found = simulations(header, strategy="fbcache", thresholds=[0.0, 0.1, 0.2, 0.4, 9.0])
    reused = [simulation.run(trace).reused_steps for simulation in found]
    assert reused == sorted(reused)
    assert reused[0] == 0 < reused[-1]


def test_a_window_and_a_run_cap_hold(header: Header, trace: Trace) -> None:
    (eager,) = simulations(header, strategy="fbcache", thresholds=[9.0], window=(1, 4), max_run=2)
    assert eager.run(trace).patterns["cond"] == "CRRC" + 16 * "C"
    assert "2 of 20 steps reused, 4 of 40 forwards, so denoising is at most 1.11 times" in eager.summary(
        [eager.run(trace)]
    )


def test_teacache_takes_the_profile_of_the_traces_model_or_a_borrowed_one(header: Header) -> None:
    (own,) = simulations(header)
    assert own.profile == load_profile(EMBEDDED)
    (borrowed,) = simulations(replace(header, recipe=Recipe("0" * 64, "1" * 64)))
    assert borrowed.profile == load_profile(BORROWED)


def test_other_strategies_have_no_profile(header: Header) -> None:
    assert simulations(header, strategy="dbcache")[0].profile is None
    with pytest.raises(OptionError, match="--profile: fbcache has no profile"):
        simulations(header, strategy="fbcache", profile=Path("x.toml"))


def test_a_profile_of_another_model_is_refused(header: Header, tmp_path: Path) -> None:
    recipe = Recipe("0" * 64, "1" * 64)
    write_profile(tmp_path / "other.toml", replace(load_profile(EMBEDDED), recipe=recipe, recipe_hash=recipe.digest))
    with pytest.raises(ProfileError, match=r"recipe\.weights is 000000000000"):
        simulations(header, profile=tmp_path / "other.toml")
