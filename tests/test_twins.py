"""Each module has its test file at the mirrored path."""

from pathlib import Path

import pytest

from tests.sources import ROOT

PACKAGES = ("accel", "pipelines", "server", "ownware", "benchmarks", "training")
MODULES = [
    path.relative_to(ROOT)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.stem not in ("__init__", "__main__")
]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_its_twin(module: Path) -> None:
    twin = Path("tests") / module.with_name(f"test_{module.name}")
    assert (ROOT / twin).is_file(), f"{twin} is missing"
