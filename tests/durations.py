"""Where the seconds of the tests go: tables for docs/explanation/testing.md, from a file that pytest writes.

`make durations` runs all tests and writes the tables anew.
"""

import argparse
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.page_tables import replace_between

BEGIN, END = "<!-- durations: begin -->", "<!-- durations: end -->"
LONGEST = 12


def durations(junit: Path) -> Iterator[tuple[str, str, float]]:
    """The file of each test, its name without what it is parametrized with, and its seconds with those of fixtures."""
    for case in ElementTree.parse(junit).iter("testcase"):
        parts = case.attrib["classname"].split(".")
        module = "/".join(part for part in parts if part[0].islower())
        yield module, re.sub(r"\[.*", "", case.attrib["name"]), float(case.attrib["time"])


def tables(found: list[tuple[str, str, float]]) -> str:
    """The parts with their tests and seconds, then the longest tests, each with all that it is parametrized with."""
    parts: dict[str, list[float]] = defaultdict(list)
    tests: dict[tuple[str, str], list[float]] = defaultdict(list)
    for module, name, seconds in found:
        inner = module.split("/")
        parts[inner[1] if len(inner) > 2 else "layers, twins, wheel, image"].append(seconds)
        tests[module, name].append(seconds)
    rows = ["| part | tests | seconds |", "|---|---|---|"]
    rows += [f"| {part} | {len(each):,} | {sum(each):.0f} |" for part, each in sorted(parts.items())]
    rows += [f"| all | {len(found):,} | {sum(seconds for *_, seconds in found):.0f} |", ""]
    rows += ["| the longest tests | times | seconds |", "|---|---|---|"]
    longest = sorted(tests.items(), key=lambda test: -sum(test[1]))[:LONGEST]
    rows += [f"| `{name}` in `{module}.py` | {len(each)} | {sum(each):.0f} |" for (module, name), each in longest]
    return "\n".join(rows)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit", type=Path, required=True, help="file that `pytest --junitxml` has written")
    parser.add_argument("--page", type=Path, required=True, help="page that has the tables")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    text = tables(list(durations(options.junit)))
    options.page.write_text(replace_between(page, BEGIN, END, text), encoding="utf-8")


if __name__ == "__main__":
    main()
