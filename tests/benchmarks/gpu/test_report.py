import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.report import load_lines, readme_table, report, write_plots
from benchmarks.gpu.row_groups.encoder_rows import ENCODED, ENCODED_FP8
from benchmarks.gpu.switches import SWITCHES

SETUP = {"full_size": True, "card": "NVIDIA H100", "driver": "580.1", "torch": "2.13.0", "diffusers": "0.42.1"}
RENDER = {"seconds": 18.5, "steps": 50, "seconds_per_step": 0.37, "share_of_790": 0.474, "share_of_ceilings": 0.56}


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(SETUP | line) + "\n" for line in lines))
    return path


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    assert load_lines(tmp_path / "gpu.jsonl") == []
    page = report([])
    assert "Nothing has been measured yet" in page


def test_every_switch_has_a_line_that_says_what_is_not_measured() -> None:
    page = report([])
    assert all(f"| {switch.name} | {switch.exactness} | not measured |" in page for switch in SWITCHES)


def test_the_latest_full_size_line_of_a_row_counts(tmp_path: Path) -> None:
    path = written(
        tmp_path / "gpu.jsonl",
        {"row": "ours", **RENDER},
        {"row": "ours", **RENDER, "seconds": 12.0},
        {"row": "tiny", **RENDER, "full_size": False},
        {"row": "diffusers", "skipped": "takes about 27 s"},
    )
    assert [(line["row"], line["seconds"]) for line in load_lines(path)] == [("ours", 12.0)]


@pytest.mark.parametrize("text", ["{", '{"row": "ours"}', "[1]"])
def test_a_damaged_line_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gpu.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=r"gpu.jsonl:1: this is no line of the benchmark"):
        load_lines(path)


def test_the_page_has_each_kind_of_figure(tmp_path: Path) -> None:
    ceilings = {
        "product_per_second": 672e12,
        "attention_per_second": 631e12,
        "copy_per_second": 55e9,
        "product_fp8_per_second": 1100e12,
        "attention_kernel": "cudnn",
    }
    lines = load_lines(
        written(
            tmp_path / "gpu.jsonl",
            {"row": "ceilings of the device", **ceilings},
            {"row": "ours", **RENDER},
            {"row": "profile of one step", "by_class": {"products": 0.2, "copies": 0.01}},
            {"row": "step cache: ours", "computed_step": 0.3, "reused_step": 0.03},
            {"row": "step cache: the cost of a decision", "computed_step": 0.3, "decision": 0.002},
            {"row": "edit", "seconds": 1.0, "steps": 8, "diffusers_seconds": 2.0, "ratio": 0.5},
            {"row": "ours, fp8", "failed": "RuntimeError: no kernel"},
        )
    )
    page = report(lines)
    assert "## NVIDIA H100" in page
    assert "The largest product runs at 672 TFLOP/s" in page
    assert "with cudnn" in page
    assert "An FP8 product runs at 1100 TFLOP/s." in page
    assert "| ours | 50 | 18.5 | 0.37 | 0.474 | 0.56 | not measured | not measured |" in page
    assert "| copies | 0.01 |" in page
    assert "| step cache: ours | 0.3 | 0.03 | not measured | not measured |" in page
    assert "| step cache: the cost of a decision | 0.3 | not measured | 0.002 | not measured |" in page
    assert "| edit | 8 | 1 | 2 | 0.5 |" in page
    assert "| `--compile auto` | close: rounding | 18.5 | not measured | not measured | not measured |" in page
    assert "- ours, fp8: RuntimeError: no kernel" in page


def test_a_switch_has_its_gain_and_its_difference(tmp_path: Path) -> None:
    compiled = {"row": "ours, compiled", **RENDER, "seconds": 12.5, "latents_relative_difference": 0.002}
    page = report(load_lines(written(tmp_path / "gpu.jsonl", {"row": "ours", **RENDER}, compiled)))
    assert "| `--compile auto` | close: rounding | 18.5 | 12.5 | 1.48 | 0.002 |" in page


def test_a_smaller_card_has_the_seconds_of_its_steps(tmp_path: Path) -> None:
    names = [f"bf16, {card}, text to image" for card in ("resident", "16 GB")]
    resident, limited = (
        {"row": name, "seconds_per_step": seconds, "latents_relative_difference": 0.0}
        for name, seconds in zip(names, (0.25, 0.5), strict=True)
    )
    fit = load_lines(written(tmp_path / "fit.jsonl", resident, limited))
    for lines in ([], load_lines(written(tmp_path / "gpu.jsonl", {"row": "ours", **RENDER}))):
        page = report(lines, fit)
        assert "## NVIDIA H100" in page
        assert (
            "| `--vram 16 --precision bf16`, one step | the same bits as on a larger card | 0.25 | 0.5 | 0.50 | 0 |"
            in page
        )
        assert "| bf16, 16 GB" not in page


def test_the_rate_of_loading_has_a_table(tmp_path: Path) -> None:
    loaded = {"row": "blocks loaded from files", "seconds": 2.0, "read_gib": 4.0, "read_gb_per_second": 2.15}
    assert "| blocks loaded from files | 2 | 4 | 2.15 |" in report(load_lines(written(tmp_path / "gpu.jsonl", loaded)))


def test_the_text_encoder_has_a_table(tmp_path: Path) -> None:
    exact = {"row": ENCODED, "seconds": 0.04, "tokens": 30, "encoder_gib": 13.2}
    fp8 = exact | {"row": ENCODED_FP8, "seconds": 0.02, "encoder_gib": 7.1, "embeddings_relative_difference": 0.03}
    page = report(load_lines(written(tmp_path / "gpu.jsonl", exact, fp8)))
    assert f"| {ENCODED_FP8} | 30 | 0.02 | 7.1 | 0.03 |" in page
    assert "| `--encoder-precision fp8`, one prompt | lossy | 0.04 | 0.02 | 2.00 | 0.03 |" in page


def test_the_readme_says_which_columns_have_no_line(tmp_path: Path) -> None:
    lines = load_lines(written(tmp_path / "gpu.jsonl", {"row": "diffusers", **RENDER}, {"row": "ours, fp8", **RENDER}))
    head, _, row = readme_table(lines).splitlines()
    assert head.startswith("| seconds, 1024², 50 steps | diffusers | exact |")
    assert row == "| NVIDIA H100 | 18.5 |" + " not measured |" * 6
    assert readme_table([]) == "No GPU has been measured yet."


def test_the_start_says_what_the_files_of_the_compiler_save(tmp_path: Path) -> None:
    again = {"row": "compiling again from the files", "first_seconds": 9.5, "read_graphs": 2}
    lines = load_lines(written(tmp_path / "gpu.jsonl", {"row": "ours", **RENDER, "first_seconds": 80.0}, again))
    page = report(lines)
    assert "| ours | 80 | not measured |" in page
    assert "| compiling again from the files | 9.5 | 2 |" in page


def test_a_card_with_its_rows_has_a_plot(tmp_path: Path) -> None:
    measured = {"row": "ours", **RENDER, "floor_seconds": 10.4}
    lines = load_lines(written(tmp_path / "gpu.jsonl", measured, {"row": "edit", "card": "A100", "seconds": 1.0}))
    assert [path.name for path in write_plots(lines, tmp_path)] == ["gpu-nvidia-h100.png"]
    assert "(../figures/gpu-nvidia-h100.png)" in report(lines)
    assert (tmp_path / "gpu-nvidia-h100.png").stat().st_size > 5000
