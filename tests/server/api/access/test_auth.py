import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.access.auth import ApiKeys, bearer_key, bearer_or_bare_key
from server.api.bodies.body import STRANGER_LIMIT
from server.app import create_app
from server.keys.api_key import NO_LIMITS, KeyLimits
from server.keys.key_table import KeyTable
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


class TestKeys:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"api_keys": ("one", "two")})

    def test_header_or_element_anywhere(self, client: TestClient) -> None:
        login = {"taskType": "authentication", "apiKey": "two"}
        assert post(client, new_task(), headers={"Authorization": "Bearer one"}).status_code == 200
        body = post(client, new_task(), login).json()
        assert [item["taskType"] for item in body["data"]] == ["imageInference"]
        assert "connectionSessionUUID" in post(client, login).json()["data"][0]

    def test_missing_and_wrong(self, client: TestClient) -> None:
        task = new_task()
        response = post(client, task)
        assert response.status_code == 401
        assert error_of(response)["code"] == "missingApiKey"
        assert error_of(response)["taskUUID"] == task["taskUUID"]
        response = post(client, task, headers={"Authorization": "Bearer three"})
        assert response.status_code == 401
        assert error_of(response)["code"] == "invalidApiKey"

    @pytest.mark.parametrize(
        ("header", "code"), [({}, "missingApiKey"), ({"Authorization": "Bearer three"}, "invalidApiKey")]
    )
    def test_a_large_body_without_a_key_is_not_read(
        self, client: TestClient, monkeypatch: pytest.MonkeyPatch, header: dict[str, str], code: str
    ) -> None:
        login = {"taskType": "authentication", "apiKey": "one"}
        large = new_task(image="a" * STRANGER_LIMIT)
        monkeypatch.setattr("server.api.runware.http.parse_tasks", pytest.fail)
        response = post(client, login, large, headers=header)
        error = error_of(response)
        assert (response.status_code, error["code"], error["parameter"]) == (401, code, "apiKey")
        assert "Authorization: Bearer" in error["message"]
        assert response.headers["connection"] == "close"

    def test_a_large_body_with_its_key_in_the_header_is_read(self, client: TestClient) -> None:
        large = {"taskType": "imageUpload", "taskUUID": new_task()["taskUUID"], "image": "a" * STRANGER_LIMIT}
        response = post(client, large, headers={"Authorization": "Bearer one"})
        assert (response.status_code, error_of(response)["code"]) == (400, "invalidImage")

    def test_a_task_belongs_to_its_key(self, client: TestClient) -> None:
        task = new_task()
        post(client, task, headers={"Authorization": "Bearer one"})
        asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        response = post(client, asking, headers={"Authorization": "Bearer two"})
        assert response.status_code == 404
        assert error_of(response)["code"] == "taskNotFound"

    @pytest.mark.parametrize("key", ["schlüssel", "clé à"])
    def test_beyond_ascii(self, settings: Settings, catalog: Catalog, worker: FakeWorker, key: str) -> None:
        # A variable that is not UTF-8 reaches us as halves of characters.
        app = create_app(settings.model_copy(update={"api_keys": (key, "\udcff")}), catalog, [worker])
        with TestClient(app, raise_server_exceptions=False) as client:
            by_header = post(client, {"taskType": "ping"}, headers={"Authorization": f"Bearer {key}".encode()})
            by_task = post(client, {"taskType": "ping"}, {"taskType": "authentication", "apiKey": key})
            assert [by_header.status_code, by_task.status_code] == [200, 200]
            wrong = post(client, {"taskType": "ping"}, headers={"Authorization": b"Bearer \xff"})
            assert wrong.status_code == 401
            half = client.post("/v1", content=json.dumps([{"taskType": "authentication", "apiKey": "\ud83d"}]))
            assert half.status_code == 401


@pytest.mark.parametrize(
    ("header", "bearer", "either"),
    [
        ("Bearer one", "one", "one"),
        ("bearer  one ", "one", "one"),
        ("one", None, "one"),
        ("Bearer", None, "Bearer"),
        ("", None, None),
        ("Bearer sch\u00c3\u00bcssel", "schüssel", "schüssel"),
    ],
)
def test_the_key_of_a_header(header: str, bearer: str | None, either: str | None) -> None:
    headers = Headers({"Authorization": header})
    assert (bearer_key(headers), bearer_or_bare_key(headers)) == (bearer, either)


class TestStoredKeys:
    """Keys of the table hold at once, while the server runs."""

    @pytest.fixture
    def table(self, settings: Settings) -> Iterator[KeyTable]:
        with contextlib.closing(KeyTable(settings.data_dir)) as table:
            yield table

    def ping(self, client: TestClient, key: str) -> Any:
        return post(client, {"taskType": "ping"}, headers={"Authorization": f"Bearer {key}"})

    def test_the_first_key_closes_an_open_server(self, client: TestClient, table: KeyTable) -> None:
        assert self.ping(client, "any").status_code == 200
        secret = table.add("alice", NO_LIMITS)
        assert [self.ping(client, key).status_code for key in ("any", secret)] == [401, 200]
        assert post(client, {"taskType": "ping"}).status_code == 401

    def test_a_revoked_and_an_expired_key(self, client: TestClient, table: KeyTable) -> None:
        revoked, expired = table.add("alice", NO_LIMITS), table.add("bob", NO_LIMITS, time.time() - 1)
        table.revoke("alice")
        for secret, word in ((revoked, "revoked"), (expired, "expired")):
            response = self.ping(client, secret)
            assert (response.status_code, error_of(response)["code"]) == (401, "invalidApiKey")
            assert word in error_of(response)["message"]

    def test_tasks_stay_with_a_key_that_gets_a_new_secret(self, client: TestClient, table: KeyTable) -> None:
        secret, other = table.add("alice", NO_LIMITS), table.add("bob", NO_LIMITS)
        task = new_task()
        assert post(client, task, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
        new = table.rotate("alice")
        for key, status in ((secret, 401), (new, 200), (other, 404)):
            assert post(client, asking, headers={"Authorization": f"Bearer {key}"}).status_code == status

    def test_a_key_over_its_rate_learns_when_to_come_again(
        self, client: TestClient, table: KeyTable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret, now = table.add("alice", KeyLimits(rate=1)), time.time()
        headers = {"Authorization": f"Bearer {secret}"}
        monkeypatch.setattr(time, "time", lambda: now)
        assert post(client, new_task(), headers=headers).status_code == 200
        monkeypatch.setattr(time, "time", lambda: now + 18)
        response = post(client, new_task(), headers=headers)
        assert (response.status_code, error_of(response)["code"]) == (429, "rateLimitExceeded")
        assert response.headers["retry-after"] == "42"

    def test_keys_of_the_settings_stay(self, settings: Settings, table: KeyTable) -> None:
        stored = table.add("alice", KeyLimits(weight=3))
        keys = ApiKeys(("one",), table)
        assert keys.owner("one") != keys.owner(stored)
        assert keys.limits(keys.owner(stored)).weight == 3
        assert keys.limits(keys.owner("one")) == NO_LIMITS
        assert keys.stored(keys.owner("one")) is None
