from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from accel.cache.plan import CachePlan
from benchmarks.step_caches.measure import Measurer
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.variants import Variant
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint
from pipelines.request import Reference
from tests.fakes import picture

if TYPE_CHECKING:
    from pipelines.catalog.catalog import ModelEntry

STEPS = 10
EAGER = Variant("cache", "eager", "fbCache", STEPS, CachePlan("fbcache", 1e9, 1, STEPS - 1, 2), {})
UNCACHED = Variant("uncached", "uncached, once more", "uncached", STEPS, None, {})
PROMPT = Prompt("a red circle")


class Words:
    """A reader that reads the same everywhere."""

    def read(self, image: Image.Image) -> str:
        return "open"


@pytest.fixture(scope="module")
def measurer(checkpoint: Checkpoint, weights: Path) -> Measurer:
    return Measurer(checkpoint, replace(load_catalog().entries[0], weights=str(weights)), 32, 32)


def test_the_setup_names_the_weights_by_content(measurer: Measurer) -> None:
    assert (measurer.setup.width, measurer.setup.height, measurer.setup.dtype) == (32, 32, "float32")
    assert measurer.setup.weights is not None
    assert str(measurer.entry.weights) not in measurer.setup.weights


@pytest.mark.slow
def test_variant_and_baseline_differ_in_the_variant_alone(measurer: Measurer) -> None:
    measured, image = measurer.measure(UNCACHED, PROMPT, 1, STEPS, 2)
    assert measured.case == measurer.case(UNCACHED, PROMPT, 1, STEPS)
    assert measured.similarity.ssim == 1
    assert measured.decisions == ()
    assert image.size == (32, 32)
    for run in (*measured.runs, *measured.baselines):
        assert run.loop is not None
        assert 0 < run.loop < run.request
    assert (len(measured.runs), len(measured.baselines)) == (2, 2)


def test_the_cache_of_a_variant_decides(measurer: Measurer) -> None:
    measured, _ = measurer.measure(EAGER, PROMPT, 1, STEPS, 1)
    assert measured.reused_steps == 6
    assert measured.similarity.ssim < 1
    assert all(each.distance is None or each.distance == round(each.distance, 4) for each in measured.decisions)


def test_words_are_read_where_a_prompt_asks_for_some(measurer: Measurer) -> None:
    reading = replace(measurer, reader=Words())  # pyright: ignore[reportArgumentType]
    measured, _ = reading.measure(UNCACHED, Prompt('the word "OPEN"'), 1, 2, 1)
    assert (measured.similarity.text, measured.similarity.baseline_text) == ("open", "open")
    measured, _ = reading.measure(UNCACHED, PROMPT, 1, 2, 1)
    assert measured.similarity.text is None


def test_an_edit_is_measured_with_its_reference(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "disc.png").write_bytes(picture(48, 48))
    prompt = Prompt("make it red", (Reference(tmp_path / "disc.png", "a" * 64, 48, 48),))
    entry: ModelEntry = replace(load_catalog().entries[1], reference_area=32 * 32)
    measured, image = Measurer(checkpoint, entry, 32, 32).measure(EAGER, prompt, 1, STEPS, 1)
    assert measured.case.references == ("a" * 64,)
    assert image.size == (32, 32)
    assert measured.reused_steps == 6
