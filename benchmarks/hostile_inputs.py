"""Measures what hostile inputs cost: the longest stall of the server, and the memory that its processes take.

Starts a server of its own for each input. A process beside it asks `/healthz` all the time, as a load balancer does:

    python -m benchmarks.hostile_inputs --out benchmarks/results/hostile-cpu.jsonl --page docs/reference/reliability.md

Appends a JSON line for each input, with milliseconds and megabytes. `--page` writes the table of the latest lines.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.hostile.attacks import ATTACKS, HEADERS, KEY, Attack
from benchmarks.hostile.bodies import MB, small_picture, upload
from benchmarks.hostile.watch import memory, probe, watch_decoders
from benchmarks.page_tables import replace_between, rewrite_page
from benchmarks.runs.records import append_line
from benchmarks.server import RunningServer, run_server

BEGIN, END = "<!-- hostile inputs: begin -->", "<!-- hostile inputs: end -->"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    parser.add_argument("--page", type=Path, help="page whose table is written anew from the file of --out")
    parser.add_argument("--only", help="measure inputs with this text in their name")
    options = parser.parse_args()
    setup = {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}
    for name, attack in ATTACKS.items():
        if options.only is None or options.only in name:
            figures = measure(attack)
            print(f"{name:<60} " + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
            append_line(options.out, {"benchmark": "hostile", "input": name, **figures, **setup})
    if options.page is not None and options.out is not None:
        rewrite_page(options.page, options.out, with_table)


def measure(attack: Attack) -> dict[str, float]:
    """What one input costs a fresh server."""
    with tempfile.TemporaryDirectory() as folder, run_server(folder, "--api-keys", KEY) as server:
        return measure_cost(server, attack)


def measure_cost(server: RunningServer, attack: Attack) -> dict[str, float]:
    """What one input costs a server: `stall_ms`, `peak_mb` of the API process, `decoders_mb` of its decoders."""
    httpx2.post(f"{server.url}/v1", json=[upload(small_picture())], headers=HEADERS).raise_for_status()
    before = memory(server.pid)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    prober = multiprocessing.get_context("spawn").Process(target=probe, args=(server.url, theirs), daemon=True)
    prober.start()
    ours.recv()  # it has begun
    with watch_decoders(server.pid) as decoders, contextlib.suppress(httpx2.HTTPError):
        attack(server.url)
    ours.send(None)
    stall = ours.recv()
    prober.join()
    peak = memory(server.pid) - before
    return {"stall_ms": round(1000 * stall), "peak_mb": round(peak / MB), "decoders_mb": round(max(decoders) / MB)}


def with_table(page: str, lines: Iterable[dict[str, Any]]) -> str:
    """The page with the latest figures of each input between its marks. Raises `ValueError` without the marks."""
    latest = {line["input"]: line for line in lines}
    table = ["| input | longest stall | memory of the API process | memory of the decoders |", "|---|---|---|---|"]
    for name, line in latest.items():
        decoders = f"{line['decoders_mb']} MB" if "decoders_mb" in line else "not measured"
        table.append(f"| {name} | {line['stall_ms']} ms | +{line['peak_mb']} MB | {decoders} |")
    return replace_between(page, BEGIN, END, "\n".join(table))


if __name__ == "__main__":
    main()
