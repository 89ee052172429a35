"""The whole way on a tiny checkpoint: measure, be killed, go on, report, recommend."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from accel.cache.plan import CachePlan
from benchmarks.step_caches.measure import Bench
from benchmarks.step_caches.prompts import Prompt
from benchmarks.step_caches.results import PSNR_OF_EQUALS, ResultsFile, read_results
from benchmarks.step_caches.runner import Unit, picture_path, run, units_of
from benchmarks.step_caches.summary import groups_of
from benchmarks.step_caches.variants import Job, jobs_of
from pipelines.catalog.catalog import ModelEntry, load_catalog
from pipelines.models.loader import Checkpoint
from pipelines.request import Reference
from tests.control import deeper
from tests.fakes import picture

STEPS = 10
EAGER = CachePlan("fbcache", 1e9, 1, STEPS - 1, 2)
PROMPTS = (Prompt('the word "OPEN"'), Prompt("a red circle"))


class CountingReader:
    """Reads the mean colour, for want of letters in noise."""

    def read(self, picture: Image.Image) -> str:
        return str(picture.resize((1, 1)).getpixel((0, 0)))


@pytest.fixture(scope="module")
def bench(checkpoint: Checkpoint, weights: Path) -> Bench:
    entry = replace(load_catalog().entries[0], weights=str(weights))
    return Bench(deeper(checkpoint, 4), entry, 32, 32, CountingReader())  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def units(bench: Bench) -> list[Unit]:
    jobs, _ = jobs_of((), bench.entry, STEPS, "documented")
    eager = Job("cache", "eager", "fbCache", STEPS, EAGER, {"fbCache": True}, on_wire=True)
    return units_of({STEPS: [*jobs[:3], eager]}, PROMPTS, [1])


class Killed(Exception):
    """Stands for the power cut."""


def test_what_was_measured_before_a_kill_is_not_measured_again(
    bench: Bench, units: Sequence[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, measured = tmp_path / "results.jsonl", []
    whole = Bench.measure

    def counted(self: Bench, job: Job, prompt: Prompt, *arguments: Any) -> Any:
        if len(measured) == 3:
            raise Killed
        measured.append((job.name, prompt.text))
        return whole(self, job, prompt, *arguments)

    monkeypatch.setattr(Bench, "measure", counted)
    with pytest.raises(Killed):
        run(bench, units, ResultsFile(path), tmp_path, repeats=1)
    monkeypatch.setattr(Bench, "measure", whole)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"case": {"pla')
    assert run(bench, units, ResultsFile(path), tmp_path, repeats=1) == len(units) - 3
    results = read_results(path)
    assert len({result.case.key for result in results}) == len(results) == len(units)
    before = path.read_bytes()
    assert run(bench, units, ResultsFile(path), tmp_path, repeats=1) == 0
    assert path.read_bytes() == before


def test_the_results_say_what_was_drawn(bench: Bench, units: Sequence[Unit], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(bench, units, ResultsFile(path), tmp_path / "pictures", repeats=2)
    results = {(result.name, result.case.prompt): result for result in read_results(path)}
    for prompt in PROMPTS:
        again, kernel, shorter, eager = (results[unit.job.name, prompt.text] for unit in units if unit.prompt is prompt)
        assert again.likeness.psnr == PSNR_OF_EQUALS  # the same numbers in the same order
        assert kernel.likeness.psnr > 60  # in another order
        assert shorter.case.executed == 9
        assert 5 < shorter.likeness.psnr < PSNR_OF_EQUALS
        assert eager.reused_steps == 6
        assert eager.likeness.ssim < 1
        for result in (again, kernel, shorter, eager):
            assert len(result.runs) == len(result.twins) == 2
            assert all(0 < each.loop < each.request for each in (*result.runs, *result.twins))
            assert all(each.host_reads == 0 for each in result.twins)
            assert (result.likeness.read is not None) == bool(prompt.words)
            with Image.open(picture_path(tmp_path / "pictures", result.case)) as kept:
                assert kept.size == (32, 32)
        assert again.likeness.read == again.likeness.twin_read
    (group,) = groups_of(results.values())
    assert (group.cases, group.steps, group.place.weights) == (2, STEPS, bench.place.weights)


def test_other_weights_are_measured_anew(bench: Bench, units: Sequence[Unit], tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run(bench, units[:1], ResultsFile(path), tmp_path, repeats=1)
    moved = replace(bench, entry=replace(bench.entry, weights="no/where"))
    assert run(moved, units[:1], ResultsFile(path), tmp_path, repeats=1) == 1


def test_an_edit_is_measured_with_its_reference(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "disc.png").write_bytes(picture(48, 48))
    prompt = Prompt("make it red", (Reference(tmp_path / "disc.png", "a" * 64, 48, 48),))
    entry: ModelEntry = replace(load_catalog().entries[1], reference_area=32 * 32)
    bench = Bench(checkpoint, entry, 32, 32)
    job = Job("cache", "eager", "fbCache", STEPS, EAGER, {})
    result, drawn = bench.measure(job, prompt, 1, STEPS, 1)
    assert result.case.references == ("a" * 64,)
    assert drawn.size == (32, 32)
    assert result.reused_steps == 6


def test_a_line_is_json_that_other_programs_read(bench: Bench, units: Sequence[Unit], tmp_path: Path) -> None:
    run(bench, units[:1], ResultsFile(tmp_path / "results.jsonl"), tmp_path, repeats=1)
    line = json.loads((tmp_path / "results.jsonl").read_text(encoding="utf-8"))
    assert line["case"]["prompt"] == PROMPTS[0].text
    assert line["runs"][0]["peak_mib"] is None  # on a CPU nothing tells it
