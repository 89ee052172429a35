"""The whole way on a tiny checkpoint: measure, be killed, go on, report, recommend."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from accel.cache.plan import CachePlan
from benchmarks.step_caches.measure import Measurer
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.reports.summary import group_measurements
from benchmarks.step_caches.results import PSNR_OF_EQUALS, ResultsFile, read_results
from benchmarks.step_caches.runner import Sample, image_path, make_samples, run
from benchmarks.step_caches.variants import Variant, make_variants
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint
from tests.control import deeper

STEPS = 4
EAGER = CachePlan("fbcache", 1e9, 1, STEPS - 1, 2)
PROMPTS = (Prompt('the word "OPEN"'), Prompt("a red circle"))


class CountingReader:
    """Reads the mean colour, for want of letters in noise."""

    def read(self, picture: Image.Image) -> str:
        return str(picture.resize((1, 1)).getpixel((0, 0)))


@pytest.fixture(scope="module")
def measurer(checkpoint: Checkpoint, weights: Path) -> Measurer:
    entry = replace(load_catalog().entries[0], weights=str(weights), true_cfg_scale=1.0)
    return Measurer(deeper(checkpoint, 4), entry, 32, 32, CountingReader())  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def samples(measurer: Measurer) -> list[Sample]:
    variants, _ = make_variants((), measurer.entry, STEPS, "documented")
    eager = Variant("cache", "eager", "fbCache", STEPS, EAGER, {"fbCache": True}, on_wire=True)
    return make_samples({STEPS: [*variants[:3], eager]}, PROMPTS, [1])


class Killed(Exception):
    """Stands for the power cut."""


def test_what_was_measured_before_a_kill_is_not_measured_again(
    measurer: Measurer, samples: Sequence[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, path, measured = samples[:5], tmp_path / "results.jsonl", []
    whole = Measurer.measure

    def counted(self: Measurer, variant: Variant, prompt: Prompt, *arguments: Any) -> Any:
        if len(measured) == 3:
            raise Killed
        measured.append((variant.name, prompt.text))
        return whole(self, variant, prompt, *arguments)

    monkeypatch.setattr(Measurer, "measure", counted)
    with pytest.raises(Killed):
        run(measurer, samples, ResultsFile(path), tmp_path, repeats=1)
    monkeypatch.setattr(Measurer, "measure", whole)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"case": {"pla')
    assert run(measurer, samples, ResultsFile(path), tmp_path, repeats=1) == len(samples) - 3
    results = read_results(path)
    assert len({result.case.key for result in results}) == len(results) == len(samples)
    before = path.read_bytes()
    assert run(measurer, samples, ResultsFile(path), tmp_path, repeats=1) == 0
    assert path.read_bytes() == before


def test_the_results_say_what_was_drawn(measurer: Measurer, samples: Sequence[Sample], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(measurer, samples, ResultsFile(path), tmp_path / "pictures", repeats=2)
    results = {(result.name, result.case.prompt): result for result in read_results(path)}
    for prompt in PROMPTS:
        again, kernel, shorter, eager = (
            results[sample.variant.name, prompt.text] for sample in samples if sample.prompt is prompt
        )
        assert again.similarity.psnr == PSNR_OF_EQUALS  # the same numbers in the same order
        assert kernel.similarity.psnr > 60  # in another order
        assert shorter.case.executed == 3
        assert 5 < shorter.similarity.psnr < PSNR_OF_EQUALS
        assert eager.reused_steps == 2
        assert eager.similarity.ssim < 1
        for result in (again, kernel, shorter, eager):
            assert len(result.runs) == len(result.baselines) == 2
            for each in (*result.runs, *result.baselines):
                assert each.loop is not None
                assert 0 < each.loop < each.request
            assert all(each.host_syncs == 0 for each in result.baselines)
            assert (result.similarity.text is not None) == bool(prompt.words)
            with Image.open(image_path(tmp_path / "pictures", result.case)) as kept:
                assert kept.size == (32, 32)
        assert again.similarity.text == again.similarity.baseline_text
    (group,) = group_measurements(results.values())
    assert (group.cases, group.steps, group.setup.weights) == (2, STEPS, measurer.setup.weights)


def test_other_weights_are_measured_anew(measurer: Measurer, samples: Sequence[Sample], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(measurer, samples[:1], ResultsFile(path), tmp_path, repeats=1)
    moved = replace(measurer, entry=replace(measurer.entry, weights="no/where"))
    assert run(moved, samples[:1], ResultsFile(path), tmp_path, repeats=1) == 1


def test_a_line_is_json_that_other_programs_read(measurer: Measurer, samples: Sequence[Sample], tmp_path: Path) -> None:
    run(measurer, samples[:1], ResultsFile(tmp_path / "results.jsonl"), tmp_path, repeats=1)
    line = json.loads((tmp_path / "results.jsonl").read_text(encoding="utf-8"))
    assert line["case"]["prompt"] == PROMPTS[0].text
    assert line["runs"][0]["peak_mib"] is None  # on a CPU nothing tells it
