from pathlib import Path

import httpx2
import pytest

from benchmarks.server import LONG_TASK, NO_TURNS, run_server
from benchmarks.serving import held_lines
from benchmarks.serving.held_lines import WAYS, measure_held_lines, probe_health


async def test_health_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lines, "PROBES", 3)
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(200)

    async with httpx2.AsyncClient(base_url="http://box", transport=httpx2.MockTransport(answer)) as web:
        assert len(await probe_health(web)) == 3
    assert asked == ["/healthz"] * 3


async def test_a_client_that_does_not_wait_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lines, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(held_lines, "WAYS", (held_lines.hold_sync_mode,))
    at_once = httpx2.MockTransport(lambda _: httpx2.Response(200))
    async with httpx2.AsyncClient(base_url="http://box", transport=at_once) as web:
        with pytest.raises(RuntimeError, match="1 of 1 clients did not wait"):
            async with held_lines.held_lines(web, 1):
                pass


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
async def test_a_real_server_holds_lines_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lines, "PROBES", 5)
    monkeypatch.setattr(held_lines, "KEPT_SECONDS", 0.1)
    with run_server(str(tmp_path), *NO_TURNS) as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=120) as web:
            found = await measure_held_lines(web, server.pid, len(WAYS), LONG_TASK)
    assert len(found.alone) == len(found.waiting) == 5
    assert found.memory.keys() == {"before", "held", "later"}
    assert found.cpu.keys() == {"alone", "waiting", "held"}
