"""Measures when the web page is first seen: the first contentful paint of each view, with an empty browser cache.

Starts a server with the embedded model, and the system's Chromium, which takes turns at the views:

    python -m benchmarks.first_paint --out benchmarks/results/page-cpu.jsonl --page docs/how-to/web-page.md

Appends a JSON line for each view, with milliseconds since the browser was told the address, and the bytes of a load.
`--page` writes the table of the latest lines.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.page_tables import replace_between, rewrite_page
from benchmarks.runs.records import append_line, installed_version
from benchmarks.server import run_server

VIEWS = ("make", "gallery", "benchmark", "server")
LOADS = 10
BEGIN, END = "<!-- first paint: begin -->", "<!-- first paint: end -->"
# Resolves once the browser has noted the first paint with anything in it.
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") done(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""
_BYTES = """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=LOADS, help="of each view")
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    parser.add_argument("--page", type=Path, help="page whose table is written anew from the file of --out")
    options = parser.parse_args()
    if options.page is not None and options.out is None:
        parser.error("--page needs --out")
    with (
        tempfile.TemporaryDirectory() as data,
        run_server(data, "--weights", "embedded") as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium")) as chromium,
    ):
        for line in measure(chromium, server.url, options.loads):
            print(f"{line['view']}: {line['median']:.0f} ms, {line['max']:.0f} ms at most", flush=True)
            append_line(options.out, line)
    if options.page is not None:
        rewrite_page(options.page, options.out, with_table)


def measure(browser: Browser, url: str, loads: int) -> list[dict[str, Any]]:
    """A line for each view. The views take turns, so that other programs disturb all alike."""
    rounds = [{view: first_paint(browser, f"{url}/#/{view}") for view in VIEWS} for _ in range(loads)]
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "chromium": browser.version,
        "playwright": installed_version("playwright"),
    }
    return [summary([found[view] for found in rounds], view) | machine for view in VIEWS]


def first_paint(browser: Browser, url: str) -> tuple[float, int]:
    """Milliseconds of one load by a new visitor, and its bytes as they are sent."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(url)
    found = page.evaluate(_PAINT), page.evaluate(_BYTES)
    context.close()
    return found


def summary(loads: list[tuple[float, int]], view: str) -> dict[str, Any]:
    """The line of a view."""
    paints = [paint for paint, _ in loads]
    return {
        "benchmark": "first_paint",
        "view": view,
        "loads": len(loads),
        "median": round(statistics.median(paints), 1),
        "max": round(max(paints), 1),
        "bytes": max(size for _, size in loads),
    }


def with_table(page: str, lines: list[dict[str, Any]]) -> str:
    """The page with the table of the latest line of each view."""
    latest = {line["view"]: line for line in lines}
    rows = [
        f"| {view} | {line['median']:.0f} | {line['max']:.0f} | {line['bytes'] / 1000:.0f} |"
        for view, line in latest.items()
    ]
    head = ["| view | median, ms | longest, ms | kB sent |", "|---|---|---|---|"]
    return replace_between(page, BEGIN, END, "\n".join(head + rows))


if __name__ == "__main__":
    main()
