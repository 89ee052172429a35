import asyncio

import httpx2
import pytest

from benchmarks.serving import held_lines
from benchmarks.serving.held_lines import probe_health


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
    monkeypatch.setattr(held_lines, "WAYS", (held_lines.hold_sync_mode,))
    at_once = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"queue": {"waiting": 0}}))
    async with httpx2.AsyncClient(base_url="http://box", transport=at_once) as web:
        with pytest.raises(RuntimeError, match="1 of 1 clients did not wait"):
            async with held_lines.held_lines(web, 1):
                pass


async def test_lines_are_held_when_the_server_has_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_lines, "WAYS", (held_lines.hold_sync_mode,))
    monkeypatch.setattr(held_lines, "_PAUSE", 0)
    sent: list[int] = []
    seen: list[int] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            seen.append(len(sent))
            return httpx2.Response(200, json={"queue": {"waiting": len(sent)}})
        sent.append(1)
        return await asyncio.get_running_loop().create_future()

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(base_url="http://box", transport=transport) as web, held_lines.held_lines(web, 2):
        assert seen[-1] == len(sent) == 2
