"""Dependencies point one way, and the API process starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(package: str) -> set[str]:
    """The top-level packages that a package's modules import, wherever in the file."""
    found = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "above"),
    [
        ("accel", {"pipelines", "server", "training"}),
        ("pipelines", {"server", "training"}),
        ("server", {"benchmarks", "training"}),
        ("training", {"server", "benchmarks"}),
    ],
)
def test_no_back_edge(package: str, above: set[str]) -> None:
    assert not imported(package) & above


def test_the_api_process_imports_no_torch() -> None:
    code = "import sys, server.cli, server.run; print({'torch', 'diffusers', 'transformers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
