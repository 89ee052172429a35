"""`ownware bench batching`: it measures for a server, and names what is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from ownware.commands.bench.batching import describe, describe_branches
from pipelines.batching import BatchGain, BranchGain
from tests.ownware.commands.bench.common import UNKNOWN_MODEL, run_bench


def batching(folder: Path, *arguments: str) -> Result:
    common = ["--weights", "embedded", "--devices", "cpu", "--data-dir", str(folder)]
    return run_bench("batching", *common, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        UNKNOWN_MODEL,
        (["--sizes", "200"], "--sizes: 200 is no multiple of 16"),
        (["--images", "1"], "--images: 1 is not from 2 to 8"),
    ],
)
def test_mistakes_end_with_a_plain_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = batching(tmp_path, *arguments)
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert message in done.stderr


@pytest.mark.slow
def test_the_measurements_are_kept_for_the_server(tmp_path: Path) -> None:
    done = batching(tmp_path, "--sizes", "128", "--images", "2", "--steps", "2", "--rounds", "1")
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "batching.json").read_text())
    (gain,) = found["gains"]
    assert (gain["width"], gain["images"], gain["difference"]) == (128, 2, 0.0)
    assert "128x128, 2 images together: " in done.stderr
    (branches,) = found["branches"]
    assert (branches["width"], branches["references"]) == (128, 0)
    assert "128x128, both branches of guidance together: " in done.stderr


@pytest.mark.parametrize(
    ("gain", "difference", "on_gpu", "words"),
    [
        (1.4, 0.0, False, "1.40 times as fast in one task, 1.20 times in several, equal bits; used in one task"),
        (1.0, 0.0, False, "equal bits; used across tasks"),
        (1.4, 1e-6, False, "latents differ by 1e-06; not used: on a CPU not one bit may differ"),
        (1.4, 0.5, True, "latents differ by 0.5; not used: at most 0.02 is allowed"),
        (1.4, 0.001, True, "latents differ by 0.001; used in one task and across tasks"),
    ],
)
def test_a_measurement_in_words(gain: float, difference: float, on_gpu: bool, words: str) -> None:
    measured = BatchGain("a:1@1", 512, 512, 2, gain, difference, joined=1.2)
    assert words in describe(measured, on_gpu=on_gpu)


def test_what_does_not_pay_is_told() -> None:
    told = describe(BatchGain("a:1@1", 512, 512, 2, 1.0, 0.0, joined=1.01), on_gpu=False)
    assert told.endswith("equal bits; not used: 1.05 is the least gain")


@pytest.mark.parametrize(
    ("gain", "difference", "on_gpu", "words"),
    [
        (1.4, 0.0, False, "together: 1.40 times as fast, equal bits; used with --batched-cfg auto"),
        (1.0, 0.0, False, "equal bits; not used: 1.05 is the least gain"),
        (1.4, 1e-6, False, "latents differ by 1e-06; not used: on a CPU not one bit may differ"),
        (1.4, 0.5, True, "latents differ by 0.5; not used: at most 0.02 is allowed"),
    ],
)
def test_a_measurement_of_branches_in_words(gain: float, difference: float, on_gpu: bool, words: str) -> None:
    assert words in describe_branches(BranchGain("a:1@1", 512, 512, gain, difference), on_gpu=on_gpu)
