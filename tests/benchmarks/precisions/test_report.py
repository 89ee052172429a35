from typing import Any

import pytest

from benchmarks.precisions.report import PAGE, RESULTS, with_tables
from benchmarks.runs.records import read_lines

MARKED = "above\n<!-- begin: measured -->\nold\n<!-- end: measured -->\nbelow\n"


def line(precision: str, median: float, component: str = "transformer") -> dict[str, Any]:
    layers = {"attn.to_q": {"median": 0.024, "worst": 0.0316, "worst_layer": "transformer_blocks.4.attn.to_q"}}
    figures = {"psnr": {"median": median, "least": 26.5}, "ssim": {"mean": 0.99}, "layers": layers}
    if component == "text_encoder":
        del figures["layers"]
    return {"component": component, "precision": precision, **figures}


def test_the_latest_line_of_each_precision_is_shown() -> None:
    page = with_tables(MARKED, [line("fp8", 30.0), line("int8", 51.1), line("fp8", 37.4)])
    assert "| `fp8` | 37.4 dB | 26.5 dB | 0.99 |\n| `int8` | 51.1 dB | 26.5 dB | 0.99 |" in page
    assert "| layers | `fp8` | `int8` |" in page
    assert "| `attn.to_q` | 2.4%, at most 3.2% in block 4 | 2.4%, at most 3.2% in block 4 |" in page
    assert page.startswith("above\n")
    assert page.endswith("below\n")
    assert "old" not in page


def test_each_component_has_its_pictures() -> None:
    lines = [line("fp8", 30.0), line("bf16", 62.7, "text_encoder")]
    page = with_tables(MARKED, lines)
    transformer, encoder = page.split("The text encoder, beside a transformer in float32:")
    assert "| `fp8` | 30.0 dB |" in transformer
    assert "| `bf16` | 62.7 dB |" in encoder
    assert "| layers | `fp8` |" in encoder
    assert "text encoder in float32: not measured." in with_tables(MARKED, lines[1:])


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="begin: measured"):
        with_tables("no marks", [line("fp8", 1.0)])


def test_the_page_shows_the_committed_lines() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, read_lines(RESULTS)) == page, "run `python -m benchmarks.precisions report`"
