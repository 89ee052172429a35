from pathlib import Path

import pytest

from ownware.cache_benchmark import Benchmark, BenchmarkOptions, plan_benchmark
from server.settings import Settings

EMBEDDED = Settings(weights="embedded", devices=("cpu",))
ONE = "[[settings]]\nacceleratorOptions = { fbCache = true }"


def plan(tmp_path: Path, *, steps: str | None = None, seeds: str = "1", size: str | None = None) -> Benchmark:
    (tmp_path / "prompts.txt").write_text("a red circle\na blue star\n")
    (tmp_path / "settings.toml").write_text(ONE)
    files = (tmp_path / "prompts.txt", tmp_path / "settings.toml")
    return plan_benchmark(BenchmarkOptions(None, *files, steps, seeds, size), EMBEDDED)


def test_the_defaults_are_the_models(tmp_path: Path) -> None:
    benchmark = plan(tmp_path)
    assert (benchmark.entry.air, benchmark.models.device) == ("runware:108@1", "cpu")
    assert (benchmark.width, benchmark.height) == (256, 256)
    assert {sample.steps for sample in benchmark.samples} == {benchmark.entry.steps}
    assert benchmark.notes == ()


@pytest.mark.parametrize(("seeds", "count"), [("1", 1), ("1,2,3", 3)])
def test_every_variant_is_measured_on_every_prompt_and_seed(seeds: str, count: int, tmp_path: Path) -> None:
    samples = plan(tmp_path, steps="12,20", seeds=seeds).samples
    assert {sample.prompt.text for sample in samples} == {"a red circle", "a blue star"}
    assert sum(sample.variant.kind == "cache" for sample in samples) == 2 * 2 * count


def test_a_setting_that_cannot_act_is_named(tmp_path: Path) -> None:
    (sentence,) = plan(tmp_path, steps="8,20", size="128x256").notes
    assert sentence.startswith("not measured: fbCache at 8 steps: ")
