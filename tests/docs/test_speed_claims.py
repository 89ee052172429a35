"""Each figure of speed on a page says where it is from: committed lines, or a source."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.runs.records import read_lines
from tests.docs.pages import PAGES, ROOT, name_of, text_of

CLAIM = re.compile(
    r"(?<!at least )(?<![\d.])\d[\d.]* (?:times|×) (?:as fast|as long|faster|slower)"
    r"|(?:gains?|gained|saves?|saved|took) (?:about )?\d[\d.]* ?(?:%|s\b|seconds|ms|times)"
)
ORIGIN = re.compile(r"[\w-]+\.jsonl|-results\.md|\bcomputed\b|CPU seconds|\b(?:torchao|Unsloth)\b")


def unfounded(text: str) -> Iterator[str]:
    """The claims of the sections that name no origin."""
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        if not ORIGIN.search(section):
            yield from CLAIM.findall(section)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_figure_of_speed_names_its_origin(page: Path) -> None:
    assert list(unfounded(text_of(page))) == []


def test_a_claim_without_an_origin_is_found() -> None:
    claims = "## A\n\nIt is 1.5 times as fast.\n\n## B\n\nIt took 3 seconds: `benchmarks/results/costs-cpu.jsonl`.\n"
    assert list(unfounded(claims)) == ["1.5 times as fast"]


def test_the_lines_that_pages_name_are_committed_or_said_to_be_missing() -> None:
    for page in PAGES:
        for name in re.findall(r"benchmarks/results/([\w-]+\.jsonl)", text_of(page)):
            there = (ROOT / "benchmarks" / "results" / name).exists()
            assert there or "Nothing has been measured yet" in text_of(ROOT / "docs/reference/gpu-results.md"), name


@pytest.mark.parametrize(
    ("page", "figure", "keys"),
    [
        ("explanation/speed.md", "decoding 512², over diffusers", ("ratio", "channels_last_ratio")),
        ("reference/options.md", "two threads, over one", ("clock_ratio", "ratio", "load")),
    ],
)
def test_the_ratios_of_a_sentence_are_those_of_the_line(page: str, figure: str, keys: tuple[str, ...]) -> None:
    lines = read_lines(ROOT / "benchmarks" / "results" / "costs-cpu.jsonl")
    line = [each for each in lines if each["figure"] == figure][-1]
    text = text_of(ROOT / "docs" / page)
    for key in keys:
        value = line[key]
        shown = f"{value:.0f}" if key == "load" else str(value) if value < 1 else f"{value:.1f}"
        assert re.search(rf"(?<![\d.]){re.escape(shown)} ", text) or f"{shown}." in text, (key, shown)


def test_the_ratios_of_one_batch_are_those_of_the_lines() -> None:
    lines = read_lines(ROOT / "benchmarks" / "results" / "costs-cpu.jsonl")
    latest = {line["figure"]: line for line in lines if line["figure"].startswith("one batch")}
    sides = list(dict.fromkeys(name.split(", ")[2] for name in latest))
    rows = [
        " | ".join(
            str(latest[f"one batch, {precision}, {side}"]["ratio"]) for precision in ("unquantized", "fp8", "nf4")
        )
        for side in sides
    ]
    page = text_of(ROOT / "docs" / "explanation" / "speed.md")
    assert [f"| {side} | {row} |" in page for side, row in zip(sides, rows, strict=True)] == [True] * 4
    assert all(line["largest_difference"] == 0 for line in latest.values())
