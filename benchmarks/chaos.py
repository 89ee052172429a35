"""Writes the figures of the chaos tests into a page, from the lines that the tests have recorded.

    OWNWARE_CHAOS_FIGURES=benchmarks/results/chaos-cpu.jsonl make test-chaos
    python -m benchmarks.chaos --results benchmarks/results/chaos-cpu.jsonl --page docs/reference/reliability.md

The latest line of each test counts. Measures nothing itself.
"""

from collections.abc import Iterable
from typing import Any

from benchmarks.page_tables import replace_between, run_rewrite

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
_HEADER = ("| test | figures |", "|---|---|")


def main() -> None:
    """Write the table."""
    run_rewrite(__doc__, with_table)


def with_table(page: str, lines: Iterable[dict[str, Any]]) -> str:
    """The page with the table of the latest lines between its two marks. Raises `ValueError` without the marks."""
    latest = {line["test"]: line for line in lines if line["benchmark"] == "chaos"}
    rows = [f"| {test} | {_describe(latest[test])} |" for test in sorted(latest)]
    return replace_between(page, BEGIN, END, "\n".join((*_HEADER, *rows)))


def _describe(line: dict[str, Any]) -> str:
    """The figures of a line in words: `kills 4, pictures 12`."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_number(value)}"
        for name, value in line.items()
        if name not in ("benchmark", "test", "date")
    )


def _number(value: float | list[float]) -> str:
    """A number, or the least and the greatest of several."""
    return f"{min(value)} to {max(value)}" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main()
