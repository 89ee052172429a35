"""Dependencies point one way, and the API process starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules(package: str) -> set[str]:
    """The modules that a package's modules import, wherever in the file."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return found


def imported(package: str) -> set[str]:
    """The top-level packages of those."""
    return {module.split(".")[0] for module in modules(package)}


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("accel", {"pipelines", "server", "training"}),
        ("pipelines", {"server", "training"}),
        ("server", {"ownware", "benchmarks", "training"}),
        ("training", {"server", "benchmarks"}),
        ("benchmarks/step_caches", {"ownware", "training", "tests"}),
        ("ownware", {"training", "docs", "tests"}),
        ("docs", {"ownware", "training", "tests"}),
    ],
)
def test_no_back_edge(package: str, above: set[str]) -> None:
    assert not imported(package) & above


def test_the_benchmark_of_step_caches_knows_the_wire_and_no_server() -> None:
    known = {module for module in modules("benchmarks/step_caches") if module.split(".")[0] == "server"}
    assert known == {"server.api.runware.translate.caches", "server.api.runware.schema.objects"}


def test_the_api_process_imports_no_torch() -> None:
    code = "import sys, ownware.cli, server.run; print({'torch', 'diffusers', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
