"""The source tree as text: its packages, and what they import. Imports none of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_needed(package: str) -> set[str]:
    """A package of the tree and all others there that it needs, directly or through another."""
    needed: set[str] = set()
    found = {package}
    while found:
        needed |= found
        files = [path for name in found for path in (ROOT / name).rglob("*.py")]
        tops = {module.split(".")[0] for path in files for module in imports(path)}
        found = {name for name in tops if (ROOT / name / "__init__.py").is_file()} - needed
    return needed
