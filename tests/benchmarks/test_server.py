import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import server as benchmark
from benchmarks.server import CLIENTS, Server, acknowledgements, overhead, percentiles, run, server


def test_percentiles() -> None:
    assert percentiles([float(number) for number in range(101)]) == {"p50": 50.0, "p99": 99.0, "max": 100.0, "n": 101}


def test_every_figure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def started(data_dir: str) -> Iterator[Server]:
        yield Server("http://box", 2.0)

    async def one_each(url: str, clients: int, requests: int) -> list[dict[str, float]]:
        return [{"overhead": float(clients), "render": 50.0, "wall": 60.0}] * requests

    async def acknowledged(url: str, requests: int) -> list[float]:
        return [3.0] * requests

    monkeypatch.setattr(benchmark, "server", started)
    monkeypatch.setattr(benchmark, "overhead", one_each)
    monkeypatch.setattr(benchmark, "acknowledgements", acknowledged)
    figures: dict[str, dict[str, Any]] = {}
    run(2, figures.__setitem__)
    assert figures["seconds to ready, first start"] == figures["seconds to ready, second start"] == {"seconds": 2.0}
    for clients in CLIENTS:
        expected = {"p50": clients, "p99": clients, "max": clients, "n": 2, "median render": 50.0}
        assert figures[f"overhead in ms, {clients} clients"] == expected
    assert figures["async acknowledgement in ms while rendering"]["p50"] == 3.0


@pytest.mark.slow
def test_a_real_server(tmp_path: Path) -> None:
    with server(str(tmp_path)) as running:
        (one,) = asyncio.run(overhead(running.url, 1, 1))
        (acknowledged,) = asyncio.run(acknowledgements(running.url, 1))
    assert 0 < one["render"] < one["wall"]
    assert acknowledged > 0
    assert running.seconds_to_ready > 0
