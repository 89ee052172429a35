import asyncio
import base64
import contextlib
import functools
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
import typer
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.utils import create_model_field
from starlette.routing import compile_path
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from server import run, web_server
from server.api.page.static_files import load_static_files
from server.app import SURFACES, TABLES, create_app
from server.database import Database
from server.jobs.storage.store import JobStore
from server.keys.key_table import DATABASE_NAME
from server.media.fetching.fetch import Fetcher
from server.settings import Settings
from server.tasks.migrations import MIGRATIONS
from server.tasks.task_ids import IdClaims
from tests.fakes import PAUSE_SECONDS, FakeWorker, InProcessDecoders, picture
from tests.receivers import Receiver, receiver
from tests.server.terminal import Terminal

TEST_HOSTS = ("box", "testserver")


@pytest.fixture(scope="package", autouse=True)
def _fast_servers() -> Iterator[None]:
    """What no test of an application in this process needs."""
    with pytest.MonkeyPatch.context() as patch:
        # Starlette's test client calls the server `testserver`, and the tests call it `box`.
        patch.setenv("OWNWARE_ALLOWED_HOSTS", ",".join(TEST_HOSTS))
        # No test pulls the plug: waiting for the disk would take a tenth of a second in each.
        patch.setattr("server.database.SYNCHRONOUS", "OFF")
        # Starting a process for each test's pictures would take most of the time of the tests.
        patch.setattr("server.app.DecoderPool", InProcessDecoders)
        # The page and the analysis of routes are the same in all of them, and take half of making an application.
        patch.setattr("server.app.load_static_files", functools.cache(load_static_files))
        patch.setattr("fastapi.routing.create_model_field", functools.cache(create_model_field))
        patch.setattr("fastapi.routing.get_dependant", _get_dependant_once())
        for module in ("fastapi.routing", "starlette.routing"):
            patch.setattr(f"{module}.compile_path", functools.cache(compile_path))
        yield


def _get_dependant_once() -> Callable[..., Dependant]:
    """FastAPI's analysis of a handler, made once for the handlers that differ in their application only."""
    analyzed: dict[tuple[str, CodeType], Dependant] = {}

    def get(*, path: str, call: FunctionType, **options: Any) -> Dependant:
        key = path, call.__code__
        if key not in analyzed:
            found = get_dependant(path=path, call=call, **options)
            if found.dependencies:  # they may be of this application
                return found
            analyzed[key] = found
        return replace(analyzed[key], call=call, dependencies=[])

    return get


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog().with_embedded_weights()


@pytest.fixture(scope="session")
def default_settings() -> Settings:
    """Parsed once: reading a hundred options takes a quarter of what a test's application takes."""
    return Settings(allowed_hosts=TEST_HOSTS)


@pytest.fixture(scope="session")
def client_headers() -> dict[str, str]:
    """What every request of a client has. The packages of dialects add a key."""
    return {}


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables of the server. Making them takes three times as long as copying it."""
    path = tmp_path_factory.mktemp("database") / DATABASE_NAME
    Database(path, [*TABLES, *(surface.schema for surface in SURFACES)], MIGRATIONS).close()
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    """A database with all tables of the server."""
    database = Database(Path(shutil.copy(empty_database, tmp_path)), [])
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, IdClaims("job"))


@pytest.fixture
def settings(default_settings: Settings, empty_database: Path, tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(empty_database, data)
    return default_settings.model_copy(update={"data_dir": data})


@contextlib.contextmanager
def serve(settings: Settings, catalog: Catalog, worker: FakeWorker, headers: dict[str, str]) -> Iterator[TestClient]:
    """A client of an application in this process."""
    app = create_app(settings, catalog, [worker])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False) as client:
        client.headers.update(headers)
        yield client


@pytest.fixture
def client(
    settings: Settings, catalog: Catalog, worker: FakeWorker, client_headers: dict[str, str]
) -> Iterator[TestClient]:
    with serve(settings, catalog, worker, client_headers) as client:
        yield client


@pytest.fixture(scope="module")
def shared_worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture(scope="module")
def shared_settings(
    default_settings: Settings, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    data = tmp_path_factory.mktemp("shared")
    shutil.copy(empty_database, data)
    return default_settings.model_copy(update={"data_dir": data})


@pytest.fixture(scope="module")
def shared_client(
    shared_settings: Settings, catalog: Catalog, shared_worker: FakeWorker, client_headers: dict[str, str]
) -> Iterator[TestClient]:
    """One application for the tests of a module that leave nothing another one could see, such as those of refusals.

    Making an application takes longer than most of them.
    """
    with serve(shared_settings, catalog, shared_worker, client_headers) as client:
        yield client


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A receiver of webhooks and uploads."""
    with receiver() as found:
        yield found


class Downloads:
    """What is behind every URL. It comes once `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.data = picture(480, 400)
        self.ended = 0

    async def fetch(self, fetcher: Fetcher, url: str) -> bytes:
        while not self.go.is_set():  # noqa: ASYNC110  set by a test, in another thread
            await asyncio.sleep(PAUSE_SECONDS)
        self.ended += 1
        return self.data


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    found = Downloads()
    monkeypatch.setattr(Fetcher, "fetch", lambda fetcher, url: found.fetch(fetcher, url))
    return found


@pytest.fixture
def reference() -> str:
    return "data:image/png;base64," + base64.b64encode(picture()).decode()


def new_task(**changes: Any) -> dict[str, Any]:
    """A small text-to-image task with a fresh UUID; a change to None removes a parameter."""
    task = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.uuid4()),
        "model": "runware:108@1",
        "positivePrompt": "a red circle",
        "width": 128,
        "height": 128,
        "seed": 5,
    }
    return {name: value for name, value in (task | changes).items() if value is not None}


def new_lora(url: str, **changes: Any) -> dict[str, Any]:
    """A task that installs the LoRA behind a URL, with a fresh UUID; a change to None removes a parameter."""
    task = {
        "taskType": "modelUpload",
        "taskUUID": str(uuid.uuid4()),
        "category": "lora",
        "architecture": "qwen_image",
        "format": "safetensors",
        "name": "Ink",
        "version": "1",
        "downloadURL": url,
    }
    return {name: value for name, value in (task | changes).items() if value is not None}


def post(client: TestClient, *tasks: Any, **options: Any) -> Any:
    return client.post("/v1", json=list(tasks), **options)


def results_of(client: TestClient, task: dict[str, Any], *, wanted: str) -> list[dict[str, Any]]:
    """What a task that was sent before has come to, asked for until its last item has the wanted status."""
    for _ in range(10_000):
        items = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()["data"]
        if items and items[-1]["status"] == wanted:
            return items
    raise AssertionError(f"the task never came to {wanted}")


def error_of(response: Any) -> dict[str, Any]:
    """The one error of a refused request."""
    body = response.json()
    assert body["data"] == []
    assert body["error"] == body["errors"][0]
    return body["error"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """The terminal of a server that runs in this process."""
    terminal = Terminal()
    monkeypatch.setattr(typer, "echo", terminal.echo)
    return terminal


@pytest.fixture
def fake_processes(monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
    """Let a server that runs in this process start no other one."""
    monkeypatch.setattr(run, "configure_logs", lambda level: None)
    monkeypatch.setattr(run, "begun_imports", contextlib.nullcontext)
    monkeypatch.setattr(web_server, "tune_interpreter", lambda: None)  # the tests are no garbage
    monkeypatch.setattr(web_server, "WorkerProcess", lambda *arguments, sharing: worker)
