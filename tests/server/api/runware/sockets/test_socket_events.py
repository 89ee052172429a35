"""Events on a WebSocket, for clients that ask for them."""

from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession

from tests.fakes import FakeWorker
from tests.server.conftest import new_task


def login(socket: WebSocketTestSession, **more: Any) -> Any:
    socket.send_json([{"taskType": "authentication", "apiKey": "any", **more}])
    return socket.receive_json()


def up_to(socket: WebSocketTestSession, last: str) -> list[dict[str, Any]]:
    """The frames up to an event of that name, or up to the first answer."""
    frames = [socket.receive_json()]
    while last not in frames[-1] and frames[-1].get("events", [{}])[0].get("event") != last:
        frames.append(socket.receive_json())
    return frames


@pytest.mark.parametrize("method", ["sync", "async"])
def test_a_client_that_asks_gets_events_beside_its_answers(client: TestClient, worker: FakeWorker, method: str) -> None:
    worker.hold()
    task = new_task(deliveryMethod=method)
    with client.websocket_connect("/v1") as socket:
        assert "data" in login(socket, events=True)
        socket.send_json([task])
        frames = up_to(socket, "step")
        worker.release()
        frames += up_to(socket, "end")
        while not any("imageURL" in item for frame in frames for item in frame.get("data", ())):
            frames.append(socket.receive_json())
    events = [event for frame in frames for event in frame.get("events", ())]
    assert {event["taskUUID"] for event in events} == {task["taskUUID"]}
    names = [event["event"] for event in events]
    assert names[-2:] == ["result", "end"]
    assert {"loading", "step", "preview"} & set(names)
    assert all(set(frame) in ({"data"}, {"events"}) for frame in frames)


def test_a_client_that_does_not_ask_sees_nothing_new(client: TestClient) -> None:
    for asked in ({}, {"events": False}):
        with client.websocket_connect("/v1") as socket:
            login(socket, **asked)
            socket.send_json([new_task()])
            assert set(socket.receive_json()) == {"data"}
            socket.send_json([{"taskType": "ping", "ping": True}])
            assert socket.receive_json() == {"data": [{"taskType": "ping", "pong": True}]}


@pytest.mark.parametrize("events", ["yes", 1, None, []])
def test_a_wish_of_nonsense_is_refused(shared_client: TestClient, events: Any) -> None:
    with shared_client.websocket_connect("/v1") as socket:
        answer = login(socket, events=events)
        assert (answer["error"]["code"], answer["error"]["parameter"]) == ("invalidEvents", "events")
        assert "data" in login(socket)
