"""Generated figures, tables, scores and profiles are of the embedded checkpoint that ships."""

import json
import re
from collections.abc import Iterator

import pytest
from PIL import Image

from accel.cache.profile import load_profile
from accel.calibration.traces import read_traces
from benchmarks.step_caches.results import read_results
from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.profiles import recipe_of
from pipelines.catalog.weights_fingerprint import fingerprint
from tests.docs.pages import ROOT, text_of

RESULTS = ROOT / "benchmarks" / "results" / "step-caches-cpu.jsonl"
VIEWS = ("make-light", "make-dark", "gallery", "mask", "benchmark", "picture", "server", "narrow")
FIGURES = {
    "docs/figures/step-caches.png": "make bench-caches",
    "docs/figures/parameters.png": "python -m docs.figures.parameters",
    **{f"docs/figures/page-{name}.png": "python -m docs.figures.page" for name in VIEWS},
    "pipelines/catalog/embedded/samples.png": "python -m training.scores.samples --sheet",
}


def fingerprints() -> Iterator[tuple[str, str, str]]:
    """Each part with the fingerprint that it carries, and what makes it anew."""
    for name, command in FIGURES.items():
        with Image.open(ROOT / name) as figure:
            yield name, figure.info.get("weights", "none"), command
    page = text_of(ROOT / "docs" / "reference" / "step-cache-results.md")
    yield (
        "the table of step caches",
        re.findall(r"^<!-- weights: (\w+) -->$", page, re.MULTILINE)[0],
        "make bench-caches",
    )
    for weights in {str(measurement.case.setup.weights) for measurement in read_results(RESULTS)}:
        yield RESULTS.name, weights, "make bench-caches, on an empty file"
    scores = json.loads((EMBEDDED_FOLDER / "scores.json").read_text(encoding="utf-8"))
    yield "scores.json", scores["weights"], "python -m training.scores.evaluate --out"
    card = re.findall(r"Scores of the weights `(\w{64})`", text_of(EMBEDDED_FOLDER / "MODEL_CARD.md"))
    yield "MODEL_CARD.md", card[0], "the scores anew"


@pytest.mark.parametrize(("part", "weights", "command"), [pytest.param(*each, id=each[0]) for each in fingerprints()])
def test_a_part_is_of_the_weights_that_ship(part: str, weights: str, command: str) -> None:
    ship = fingerprint(EMBEDDED)
    assert ship is not None
    assert weights == ship, f"{part} is of other weights ({weights[:8]}): run {command}"


def test_the_profile_and_the_example_traces_are_of_the_weights_that_ship() -> None:
    header, _ = read_traces(ROOT / "docs" / "embedded.traces.jsonl")
    assert (
        header.recipe == load_profile(EMBEDDED).recipe == recipe_of(load_catalog().with_embedded_weights().entries[0])
    ), "run `make profile`"


def test_every_figure_of_the_pages_says_its_weights() -> None:
    shown = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.png")}
    assert shown <= set(FIGURES)
