import asyncio
from typing import Any

from starlette.requests import Request

from server.api.access.client import Client, NoteCaller
from server.caller import caller_address


def request(*messages: dict[str, Any]) -> Request:
    left = asyncio.Queue[dict[str, Any]]()
    for message in messages:
        left.put_nowait(message)
    return Request({"type": "http"}, left.get)


def client() -> Client:
    return Client("me", "http://box:8000", listens=False)


async def test_a_client_that_hangs_up_is_noticed() -> None:
    sender = client()
    with sender.watch(request({"type": "http.request"}, {"type": "http.disconnect"})):
        await sender.gone.wait()


async def test_a_client_is_watched_within_the_block_only() -> None:
    sender = client()
    messages = request()
    with sender.watch(messages):
        await asyncio.sleep(0)
    messages.scope["type"] = "over"
    await asyncio.sleep(0)
    assert not sender.gone.is_set()
    assert not client().gone.is_set()


async def test_the_address_of_a_request_is_noted_while_it_is_answered() -> None:
    noted = []

    async def app(*_: Any) -> None:
        noted.append(caller_address.get())

    for scope in (
        {"type": "http", "client": ("192.0.2.7", 80)},
        {"type": "websocket", "client": ("2001:db8::1", 80)},
        {"type": "http", "client": None},
    ):
        await NoteCaller(app)(scope, asyncio.Queue().get, asyncio.Queue().put)
    assert noted == ["192.0.2.7", "2001:db8::1", ""]
