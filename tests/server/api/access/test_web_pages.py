import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pipelines.catalog.catalog import Catalog
from server.api.access.web_pages import make_policy
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of

PAGE = {"Origin": "https://page.example"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
SOCKET = "ws://127.0.0.1:8000/v1"  # the test client does not apply its base URL to it
PING = [{"taskType": "ping", "ping": True}]
JSON = {"Content-Type": "application/json; charset=utf-8"}


@contextmanager
def serve(
    folder: Path, catalog: Catalog, *, url: str = "http://127.0.0.1:8000", **options: Any
) -> Iterator[TestClient]:
    settings = Settings.model_validate({"data_dir": folder, "allowed_hosts": ()} | options)
    with TestClient(create_app(settings, catalog, [FakeWorker()]), base_url=url) as client:
        yield client


def test_no_web_page_may_use_the_api(tmp_path: Path, catalog: Catalog) -> None:
    with serve(tmp_path, catalog) as client:
        preflight = client.options("/v1", headers=PAGE | PREFLIGHT)
        assert preflight.status_code == 405
        assert "access-control-allow-origin" not in preflight.headers
        assert "access-control-allow-origin" not in client.post("/v1", json=PING, headers=PAGE).headers


def test_pages_of_listed_origins_may_use_the_api(tmp_path: Path, catalog: Catalog) -> None:
    with serve(tmp_path, catalog, cors_origins="https://page.example/") as client:
        preflight = client.options("/v1", headers=PAGE | PREFLIGHT)
        assert preflight.headers["access-control-allow-origin"] == "https://page.example"
        other = client.options("/v1", headers={"Origin": "https://other.example"} | PREFLIGHT)
        assert "access-control-allow-origin" not in other.headers
        with client.websocket_connect(SOCKET, headers=PAGE):
            pass
    with serve(tmp_path, catalog, cors_origins="*") as client:
        assert client.options("/v1", headers=PAGE | PREFLIGHT).headers["access-control-allow-origin"] == "*"


def test_a_name_that_was_rebound_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    with serve(tmp_path, catalog) as client:
        headers = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
        response = client.post("/v1", json=PING, headers=headers)
        assert response.status_code == 403
        assert error_of(response)["code"] == "hostNotAllowed"
        assert "'evil.example'" in error_of(response)["message"]
        assert client.get("/docs", headers=headers).status_code == 403
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(SOCKET, headers=headers):
            pass


HOSTS = ("127.0.0.1:8000", "localhost:8000", "LocalHost.", "api.localhost", "[::1]:8000", "192.168.1.5", "box.example")


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_the_server(host: str) -> None:
    assert policy(public_url="https://box.example:444").accepts_host(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "box.example"]
)
def test_other_names(host: str) -> None:
    assert not policy().accepts_host(host)
    assert policy(has_keys=True).accepts_host(host)
    assert not policy(has_keys=True, allowed_hosts=("other.example",)).accepts_host(host)
    assert policy(allowed_hosts=("*",)).accepts_host(host)


def test_the_names_of_the_machine_and_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Studio.example")
    names = policy(bind_host="studio.lan", allowed_hosts=("Other.example",))
    assert all(names.accepts_host(host) for host in ("studio:8000", "studio.local", "studio.lan", "other.example:80"))
    assert names.accepts_host(None)  # HTTP/1.0, which no browser speaks


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_of_a_web_page_is_refused(tmp_path: Path, catalog: Catalog, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    with serve(tmp_path, catalog) as client:
        for origin in ("https://page.example", "null", "http://127.0.0.1:3000"):
            response = client.post("/v1", content=json.dumps(PING), headers=headers | {"Origin": origin})
            assert response.status_code == 415
            assert error_of(response)["code"] == "unsupportedContentType"


def test_programs_and_own_pages_are_served(tmp_path: Path, catalog: Catalog) -> None:
    with serve(tmp_path, catalog, public_url="https://box.example") as client:
        body = json.dumps(PING)
        own = ({}, {"Origin": "http://127.0.0.1:8000"}, {"Origin": "https://box.example"})
        for headers in own:
            assert client.post("/v1", content=body, headers=headers).status_code == 200
            assert client.get("/docs", headers=headers).status_code == 200
            with client.websocket_connect(SOCKET, headers=headers):
                pass
        assert client.post("/v1", content=body, headers=PAGE | JSON).status_code == 200


def test_a_key_protects_against_forms(tmp_path: Path, catalog: Catalog) -> None:
    with serve(tmp_path, catalog, api_keys=("one",)) as client:
        assert client.post("/v1", content=json.dumps(PING), headers=PAGE).status_code == 401


@pytest.mark.parametrize("origin", ["https://page.example", "null", "http://127.0.0.1:3000"])
@pytest.mark.parametrize("keys", [(), ("one",)])
def test_a_websocket_of_a_web_page_is_refused(
    tmp_path: Path, catalog: Catalog, origin: str, keys: tuple[str, ...]
) -> None:
    with serve(tmp_path, catalog, api_keys=keys) as client:
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(SOCKET, headers={"Origin": origin}):
            pass
        assert closed.value.code == 1008


def policy(**changes: Any) -> Any:
    options = {"bind_host": "127.0.0.1", "public_url": None, "allowed_hosts": (), "cors_origins": (), "has_keys": False}
    return make_policy(**(options | changes))
