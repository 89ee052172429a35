"""Each option of `acceleratorOptions`, from the wire down to the steps that are reused with the embedded checkpoint."""

from typing import Any

import pytest
import torch

from pipelines.catalog.catalog import load_catalog
from pipelines.latents import grid, noise
from pipelines.models.loader import Checkpoint
from pipelines.render import advance, begin
from pipelines.request import RenderRequest, Sampler
from server.api.runware.schema.tasks import AcceleratorOptions
from server.api.runware.translate.caches import ThresholdDirection, cache_plan

SIDE, STEPS = 64, 14
ENTRY = load_catalog().with_embedded_weights().entries[0]
WIDE = {"cacheStartStep": 1, "cacheEndStep": STEPS}


def reused(trained: Checkpoint, direction: ThresholdDirection, **given: Any) -> int:
    plan, _ = cache_plan(AcceleratorOptions.model_validate(given), ENTRY, STEPS, direction)
    assert plan is not None
    width = trained.transformer.config["joint_attention_dim"]
    state = begin(
        RenderRequest("", "", None, SIDE, SIDE, STEPS, Sampler(), 1.0, 3, cache=plan),
        trained,
        noise=noise(grid(SIDE, SIDE, trained.vae), 16, seed=3),
        cond=torch.randn((1, 9, width), generator=torch.Generator().manual_seed(1)),
        uncond=None,
    )
    while state.step < state.total:
        advance([state])
    assert state.cache is not None
    return state.cache.report().reused_steps


def rises(found: list[int]) -> bool:
    return found == sorted(found) and found[0] < found[-1]


@pytest.mark.parametrize("direction", ["documented", "library"])
@pytest.mark.parametrize("cache", ["fbCache", "dbCache"])
def test_thresholds(trained: Checkpoint, cache: str, direction: ThresholdDirection) -> None:
    found = [
        reused(trained, direction, **{cache: True, f"{cache}Threshold": value}, **WIDE)
        for value in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
    ]
    assert rises(found[::-1] if direction == "documented" else found), found
    assert min(found) == 0, "nothing is reused at the one end"


def test_teacache_distance(trained: Checkpoint) -> None:
    found = [
        reused(trained, "documented", teaCache=True, teaCacheDistance=value, **WIDE)
        for value in (0.0, 0.1, 0.3, 0.5, 1.0)
    ]
    assert rises(found), found
    assert found[0] == 0


# So high a threshold that the other options decide.
FREE = {"fbCache": True, "fbCacheThreshold": 0.0}
SEVERAL = {"dbCache": True, "dbCacheThreshold": 0.0, "cacheMaxConsecutiveSteps": 5}


@pytest.mark.parametrize(
    ("given", "name", "values"),
    [
        (FREE | WIDE, "cacheMaxConsecutiveSteps", (1, 2, 3, 5)),
        (SEVERAL | WIDE, "dbCacheSkipInterval", (1, 2, 5)),
        (FREE, "cacheStartStep", (11, 8, 4, 1)),
        (FREE, "cacheEndStep", (5, 8, 11, 14)),
        (FREE, "cacheStartStepPercentage", (80, 50, 20, 0)),
        (FREE, "cacheEndStepPercentage", (40, 60, 80, 100)),
    ],
)
def test_when_reuse_is_allowed(trained: Checkpoint, given: dict[str, Any], name: str, values: tuple[int, ...]) -> None:
    found = [reused(trained, "documented", **given | {name: value}) for value in values]
    assert rises(found), found
