"""Each module has its test file at the mirrored path."""

from pathlib import Path

from tests.sources import ROOT

PACKAGES = ("accel", "pipelines", "server", "ownware", "benchmarks", "training")


def test_every_module_has_its_twin() -> None:
    modules = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.stem not in ("__init__", "__main__")
    ]
    twins = [Path("tests") / module.with_name(f"test_{module.name}") for module in modules]
    assert [str(twin) for twin in twins if not (ROOT / twin).is_file()] == []
