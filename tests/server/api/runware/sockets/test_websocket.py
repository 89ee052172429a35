import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from server.api.access.auth import ApiKeys
from server.api.bodies.body_pool import BodyPool
from server.api.runware.sockets import websocket
from server.api.runware.sockets.sessions import Sessions
from server.api.runware.sockets.websocket import RunwareSocket
from server.errors import Failure
from server.keys.api_key import NO_LIMITS
from server.keys.key_table import KeyTable
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post

Open = Callable[..., AbstractContextManager[WebSocketTestSession]]


@pytest.fixture
def services() -> Any:
    """What a connection needs without a server."""
    return SimpleNamespace(body_pool=BodyPool(), keys=ApiKeys(()), public_url="http://box")


@pytest.fixture
def connect(client: TestClient) -> Open:
    """Open a socket and authenticate, as every client does."""

    @contextmanager
    def opened(session: str | None = None, path: str = "/v1") -> Iterator[WebSocketTestSession]:
        with client.websocket_connect(path) as socket:
            login = {"taskType": "authentication", "apiKey": "any"}
            send(socket, login | ({"connectionSessionUUID": session} if session else {}))
            yield socket

    return opened


def send(socket: WebSocketTestSession, *tasks: Any) -> None:
    socket.send_text(json.dumps(list(tasks)))


def receive(socket: WebSocketTestSession) -> Any:
    return json.loads(socket.receive_text())


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/", "/v1?sdk=js&version=1.3.2"])
def test_authentication(connect: Open, path: str) -> None:
    with connect(path=path) as socket:
        (item,) = receive(socket)["data"]
    assert set(item) == {"taskType", "connectionSessionUUID"}  # a taskUUID would keep one client from connecting
    assert item["taskType"] == "authentication"
    assert uuid.UUID(item["connectionSessionUUID"])


def test_one_result_a_frame(connect: Open) -> None:
    with connect() as socket:
        receive(socket)
        send(socket, new_task(numberResults=2))
        frames = [receive(socket) for _ in range(2)]
    assert [set(frame) for frame in frames] == [{"data"}] * 2
    assert [frame["data"][0]["seed"] for frame in frames] == [5, 6]
    assert all("status" not in frame["data"][0] for frame in frames)


def test_pings_are_answered_while_an_image_is_drawn(connect: Open, worker: FakeWorker) -> None:
    worker.hold()
    with connect() as socket:
        receive(socket)
        send(socket, new_task())
        worker.held.wait()
        send(socket, {"taskType": "ping", "ping": True})
        assert receive(socket) == {"data": [{"taskType": "ping", "pong": True}]}
        worker.release()
        assert receive(socket)["data"][0]["imageURL"]


def test_async_is_acknowledged_and_then_pushed(connect: Open) -> None:
    task = new_task(deliveryMethod="async", numberResults=2)
    with connect() as socket:
        receive(socket)
        send(socket, task)
        assert receive(socket) == {"data": [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]}
        pushed = receive(socket)["data"]
    assert [item["status"] for item in pushed] == ["success"] * 2


def test_an_error_names_its_task_and_comes_alone(connect: Open) -> None:
    task = new_task(width=1000, steps=0)
    with connect() as socket:
        receive(socket)
        send(socket, task)
        frame = receive(socket)
    assert set(frame) == {"errors"}
    (error,) = frame["errors"]
    assert error["taskUUID"] == task["taskUUID"]
    assert error["taskType"] == "imageInference"


def test_a_failed_render_is_one_error_after_the_good_images(connect: Open, worker: FakeWorker) -> None:
    worker.fail = Failure("inferenceError", "out of memory", 500)
    task = new_task(numberResults=3)
    with connect() as socket:
        receive(socket)
        send(socket, task)
        assert [error["code"] for error in receive(socket)["errors"]] == ["inferenceError"]
        asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        send(socket, asking)
        assert receive(socket)["errors"][0]["status"] == "error"


def test_a_task_before_authentication(client: TestClient) -> None:
    task = new_task()
    with client.websocket_connect("/v1") as socket:
        send(socket, task)
        (error,) = receive(socket)["errors"]
    assert error["code"] == "missingApiKey"
    assert error["taskUUID"] == task["taskUUID"]


@pytest.mark.parametrize("text", ["{", "3", '{"taskType":"ping"}', "[]"])
def test_text_that_is_no_array_of_tasks(connect: Open, text: str) -> None:
    with connect() as socket:
        receive(socket)
        socket.send_text(text)
        assert receive(socket)["errors"][0]["code"] == "invalidRequest"
        send(socket, {"taskType": "ping", "ping": True})
        assert receive(socket)["data"]


def test_binary_frames_are_read_too(connect: Open) -> None:
    with connect() as socket:
        receive(socket)
        socket.send_bytes(b'[{"taskType":"ping","ping":true}]')
        assert receive(socket)["data"][0]["pong"] is True


class TestResuming:
    def test_results_finished_meanwhile_are_delivered(self, connect: Open, worker: FakeWorker) -> None:
        worker.hold()
        task = new_task()
        with connect() as socket:
            session = receive(socket)["data"][0]["connectionSessionUUID"]
            send(socket, task)
            worker.held.wait()
        worker.release()
        with connect(session) as socket:
            assert receive(socket)["data"][0]["connectionSessionUUID"] == session
            assert receive(socket)["data"][0]["taskUUID"] == task["taskUUID"]

    def test_an_unknown_session_is_a_new_one(self, connect: Open) -> None:
        unknown = str(uuid.uuid4())
        with connect(unknown) as socket:
            assert receive(socket)["data"][0]["connectionSessionUUID"] != unknown

    def test_the_newest_connection_takes_over(self, connect: Open) -> None:
        with connect() as old:
            session = receive(old)["data"][0]["connectionSessionUUID"]
            with connect(session) as new:
                receive(new)
                send(old, new_task())
                assert receive(new)["data"][0]["seed"] == 5

    def test_authenticating_again_keeps_the_session(self, connect: Open) -> None:
        with connect() as socket:
            session = receive(socket)["data"][0]["connectionSessionUUID"]
            send(socket, {"taskType": "authentication", "apiKey": "any"})
            assert receive(socket)["data"][0]["connectionSessionUUID"] == session

    def test_also_after_a_login_by_header(self, client: TestClient, connect: Open) -> None:
        with connect() as socket:
            session = receive(socket)["data"][0]["connectionSessionUUID"]
        with client.websocket_connect("/v1", headers={"Authorization": "Bearer any"}) as socket:
            login = {"taskType": "authentication", "apiKey": "any"}
            send(socket, login | {"connectionSessionUUID": session})
            assert receive(socket)["data"][0]["connectionSessionUUID"] == session
            send(socket, login | {"connectionSessionUUID": str(uuid.uuid4())})
            assert receive(socket)["data"][0]["connectionSessionUUID"] == session
            send(socket, {"taskType": "ping", "ping": True})
            assert receive(socket)["data"][0]["pong"] is True


class TestKeys:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"api_keys": ("one", "two")})

    @pytest.mark.parametrize(
        ("key", "code"), [("wrong", "invalidApiKey"), (None, "missingApiKey"), (7, "missingApiKey")]
    )
    def test_a_bad_key_is_said_in_both_forms_and_the_socket_stays_open(
        self, client: TestClient, key: object, code: str
    ) -> None:
        with client.websocket_connect("/v1") as socket:
            send(socket, {"taskType": "authentication", "apiKey": key})
            frame = receive(socket)
            assert frame["errors"] == [frame["error"]]
            assert frame["error"]["code"] == code
            assert frame["error"]["taskType"] == "authentication"
            assert "taskUUID" not in frame["error"]
            send(socket, {"taskType": "authentication", "apiKey": "one"})
            assert receive(socket)["data"]

    def test_a_session_belongs_to_its_key(self, client: TestClient) -> None:
        with client.websocket_connect("/v1") as socket:
            send(socket, {"taskType": "authentication", "apiKey": "one"})
            session = receive(socket)["data"][0]["connectionSessionUUID"]
        with client.websocket_connect("/v1") as socket:
            send(socket, {"taskType": "authentication", "apiKey": "two", "connectionSessionUUID": session})
            assert receive(socket)["data"][0]["connectionSessionUUID"] != session

    def test_a_large_frame_before_the_login_is_not_parsed(
        self, client: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("server.api.runware.sockets.websocket.parse_tasks", pytest.fail)
        with client.websocket_connect("/v1") as socket:
            send(socket, {"taskType": "authentication", "apiKey": "one"}, "a" * 65_536)
            frame = receive(socket)
            assert frame["errors"] == [frame["error"]]
            assert frame["error"]["code"] == "missingApiKey"
            assert socket.receive()["code"] == 1009

    def test_a_large_frame_after_the_login_is_answered(self, client: TestClient) -> None:
        with client.websocket_connect("/v1") as socket:
            send(socket, {"taskType": "authentication", "apiKey": "one"})
            receive(socket)
            send(socket, new_task(positivePrompt="a" * 65_536))
            assert receive(socket)["errors"][0]["code"] == "invalidPositivePromptLength"

    def test_a_key_in_the_upgrade_request(self, client: TestClient) -> None:
        with client.websocket_connect("/v1", headers={"Authorization": "Bearer two"}) as socket:
            send(socket, {"taskType": "ping", "ping": True})
            assert receive(socket)["data"][0]["pong"] is True
        with client.websocket_connect("/v1", headers={"Authorization": "Bearer three"}) as socket:
            send(socket, {"taskType": "ping", "ping": True})
            assert receive(socket)["errors"][0]["code"] == "missingApiKey"


class TestStoredKeys:
    @pytest.fixture
    def table(self, settings: Settings) -> Iterator[KeyTable]:
        with contextlib.closing(KeyTable(settings.data_dir)) as table:
            yield table

    @pytest.mark.parametrize("by_header", [True, False])
    @pytest.mark.parametrize("change", ["revoke", "rotate"])
    def test_a_key_that_ends_closes_its_connection_at_the_next_message(
        self, client: TestClient, table: KeyTable, worker: FakeWorker, change: str, by_header: bool
    ) -> None:
        secret = table.add("alice", NO_LIMITS)
        headers = {"Authorization": f"Bearer {secret}"} if by_header else {}
        with client.websocket_connect("/v1", headers=headers) as socket:
            if not by_header:
                send(socket, {"taskType": "authentication", "apiKey": secret})
                receive(socket)
            send(socket, {"taskType": "ping", "ping": True})
            assert receive(socket)["data"][0]["pong"] is True
            getattr(table, change)("alice")
            send(socket, new_task())
            frame = receive(socket)
            assert frame["errors"] == [frame["error"]]
            assert frame["error"]["code"] == "invalidApiKey"
            assert socket.receive()["code"] == 1008
        assert not worker.jobs


def test_a_closed_socket_cancels_nothing(client: TestClient, connect: Open, worker: FakeWorker) -> None:
    worker.hold()
    task = new_task(numberResults=2)
    with connect() as socket:
        receive(socket)
        send(socket, task)
        worker.held.wait()
    worker.release()
    asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
    items = post(client, asking).json()["data"]
    while items[0]["status"] == "processing":
        items = post(client, asking).json()["data"]
    assert [item["status"] for item in items] == ["success", "success"]


def test_half_a_character_fails_its_own_task(connect: Open) -> None:
    bad, good = new_task(lora=[{"model": "\ud83d"}]), new_task()
    with connect() as socket:
        receive(socket)
        send(socket, bad, good)
        answers = [receive(socket) for _ in range(2)]
    (error,) = next(answer["errors"] for answer in answers if "errors" in answer)
    assert (error["code"], error["parameter"]) == ("invalidLora", "lora[0].model")
    assert error["taskUUID"] == bad["taskUUID"]
    (item,) = next(answer["data"] for answer in answers if "data" in answer)
    assert item["taskUUID"] == good["taskUUID"]


def test_a_socket_without_a_key_is_closed_after_a_while(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LOGIN_SECONDS", 0.01)
    with client.websocket_connect("/v1") as socket, pytest.raises(WebSocketDisconnect) as closed:
        socket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "No key within 0.01 seconds.")


def test_a_socket_without_a_key_cannot_stay_by_talking(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "LOGIN_SECONDS", 0.1)
    with client.websocket_connect("/v1") as socket:
        message: Any = {}
        for _ in range(50):
            socket.send_text("{")
            message = socket.receive()
            if message["type"] == "websocket.close":
                break
            time.sleep(0.02)
    assert message["code"] == 1008


def test_only_frames_of_a_session_are_to_be_confirmed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that answers no pings let the server remember each refusal, even before its login."""
    asked: list[Callable[[], None]] = []
    control = SimpleNamespace(when_received=asked.append, allow_large_messages=lambda: None)
    monkeypatch.setattr(websocket, "control_of", lambda _: control)
    with client.websocket_connect("/v1") as socket:
        for text in ("{", "[1]", '[{"taskType":"authentication","apiKey":"any"}]'):
            socket.send_text(text)
            socket.receive_text()
        assert asked == []
        send(socket, {"taskType": "ping", "ping": True})
        assert receive(socket)["data"]
        send(socket, {"taskType": "ping", "ping": True})
        assert receive(socket)["data"]
        assert asked


async def test_others_run_between_messages_that_have_arrived_already(services: Any) -> None:
    """Thousands of small messages arrive at once, and were all begun before anything else."""
    rounds = 0
    seen: list[int] = []

    class Arrived:
        headers, scope = Headers(), {"extensions": {}}
        left = 5

        async def accept(self) -> None:
            pass

        async def receive(self) -> dict[str, Any]:
            seen.append(rounds)
            self.left -= 1
            return {"type": "websocket.receive", "text": "{"} if self.left else {"type": "websocket.disconnect"}

        async def send_text(self, text: str) -> None:
            pass

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_rounds())
    socket, unused = cast("Any", Arrived()), cast("Any", None)
    await RunwareSocket(unused, services, Sessions(), unused).serve(socket)
    counting.cancel()
    assert len(set(seen)) == 5


def test_messages_wait_while_too_many_tasks_have_no_answer(
    connect: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_UNANSWERED", 1)
    with connect() as socket:
        receive(socket)
        worker.hold()
        send(socket, new_task())
        send(socket, {"taskType": "ping", "ping": True})
        worker.held.wait()
        worker.release()
        assert [receive(socket)["data"][0]["taskType"] for _ in range(2)] == ["imageInference", "ping"]
