"""A second dialect, written as CONTRIBUTING says: it needs nothing of the first one."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server import app as app_module
from server.api.access.auth import bearer_key
from server.api.access.client import Client
from server.api.bodies.body import read_body
from server.api.dialect import Dialect, WebhookWriter
from server.api.services import Services
from server.api.urls.base_url import base_url
from server.api.urls.image_urls import image_url
from server.errors import ApiError, Failure, NotFound
from server.jobs.events import Ended, ResultReady
from server.jobs.job import Job, Result
from server.media.encode import Encoding
from server.settings import Settings
from server.tasks.spec import TaskSpec
from server.tasks.submit import Accepted
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

Json = dict[str, Any]
ROUTE = "/small/v1"


class SmallDialect:
    """One object in, the state of its task out, as several vendors do."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def parse(self, request: Json, client: Client) -> TaskSpec:
        entry = self._catalog.find(request["model"])
        if entry is None:
            raise NotFound(f"Model {request['model']} is not served.", code="unknownModel")
        images = tuple(request.get("images", ()))
        width, height = (int(side) for side in request["size"].split("*")) if "size" in request else (None, None)
        return TaskSpec(
            owner=client.owner,
            dialect="small",
            task_id=request["id"],
            task=request,
            wait=request.get("sync", False),
            model=entry,
            prompt=request["prompt"],
            negative_prompt=None,
            steps=entry.steps,
            sampler=entry.sampler,
            true_cfg_scale=entry.true_cfg_scale,
            encoding=Encoding("PNG", 95),
            width=width,
            height=height,
            references=images,
            parameters={f"references[{number}]": f"images[{number}]" for number in range(len(images))},
        )

    def acknowledge(self, job: Job) -> Json:
        return {"id": job.submission.task_uuid, "status": job.state, "outputs": []}

    async def result(self, job: Job, image: Result, client: Client) -> Json:
        return self.acknowledge(job) | {"outputs": [image_url(client.base_url, image.image_uuid, "png")]}

    def error(self, failure: Failure | ApiError, job: Job | None = None) -> Json:
        return {"code": failure.status, "message": failure.message, "status": "failed"}


def small_dialect(catalog: Catalog) -> Dialect[Json, Json]:
    return SmallDialect(catalog)


class SmallSurface:
    """Submits with POST, and polls with GET."""

    name: ClassVar[str] = "small"
    schema: ClassVar[str] = ""
    webhooks: WebhookWriter | None = None
    paths: ClassVar[tuple[str, ...]] = (ROUTE,)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dialect = small_dialect(services.loras.catalog(""))

    def add_routes(self, app: FastAPI) -> None:
        app.add_api_route(ROUTE + "/run/{model:path}", self.submit, methods=["POST"], include_in_schema=False)
        app.add_api_route(ROUTE + "/result/{task_id}", self.poll, methods=["GET"], include_in_schema=False)

    def describe(self, document: Json) -> None:
        document["paths"][ROUTE] = {}

    def error_response(self, *errors: ApiError) -> Response:
        return JSONResponse(self._dialect.error(errors[0]), errors[0].status)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, request: Request, model: str) -> Response:
        body = await read_body(request, self._services.max_body)
        client = self._client(request)
        spec = self._dialect.parse({**json.loads(body), "model": model}, client)
        reply: Json = {}
        async for event in self._services.tasks.run(spec, listens=False, gone=client.gone):
            if isinstance(event, Accepted):
                reply = self._dialect.acknowledge(event.job)
            elif isinstance(event, ResultReady):
                reply = await self._dialect.result(event.job, event.result, client)
            elif isinstance(event, Ended) and event.job.failure is not None:
                reply = self._dialect.error(event.job.failure, event.job)
        return JSONResponse(reply)

    async def poll(self, request: Request, task_id: str) -> Response:
        client = self._client(request)
        job = await self._services.queue.find(client.owner, task_id)
        if job is None:
            raise NotFound(f"Task {task_id} is not known.", code="taskNotFound")
        if job.failure is not None:
            return JSONResponse(self._dialect.error(job.failure, job))
        if not job.results:
            return JSONResponse(self._dialect.acknowledge(job))
        return JSONResponse(await self._dialect.result(job, job.results[0], client))

    def _client(self, request: Request) -> Client:
        owner = self._services.keys.owner(bearer_key(request.headers))
        return Client(owner, base_url(request, self._services.public_url), listens=False)


@pytest.fixture
def client(
    settings: Settings, catalog: Catalog, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setattr(app_module, "SURFACES", (*app_module.SURFACES, SmallSurface))
    settings = settings.model_copy(update={"api_keys": ("one", "two")})
    app = app_module.create_app(settings, catalog, [worker])
    one = {"Authorization": "Bearer one"}
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False, headers=one) as client:
        yield client


def run(client: TestClient, model: str = "qwen-image", **changes: Any) -> Any:
    body = {"id": "task-1", "prompt": "a red circle", "size": "128*256", "sync": True}
    return client.post(f"{ROUTE}/run/{model}", json={k: v for k, v in (body | changes).items() if v is not None})


def test_a_task_is_answered_when_it_is_done(client: TestClient, worker: FakeWorker) -> None:
    reply = run(client).json()
    assert (reply["id"], reply["status"]) == ("task-1", "running")
    assert client.get(reply["outputs"][0]).headers["content-type"] == "image/png"
    request = worker.jobs[0].request
    assert (request.model, request.width, request.height) == ("runware:108@1", 128, 256)


def test_or_acknowledged_and_polled(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    assert run(client, sync=False).json() == {"id": "task-1", "status": "queued", "outputs": []}
    worker.release()
    while not (reply := client.get(f"{ROUTE}/result/TASK-1").json())["outputs"]:
        assert reply["status"] in ("queued", "running")
    assert client.get(f"{ROUTE}/result/task-1", headers={"Authorization": "Bearer two"}).status_code == 404


def test_an_edit_without_a_size_is_like_its_picture(client: TestClient, worker: FakeWorker, reference: str) -> None:
    run(client, "qwen-image-edit", images=[reference], size=None)
    assert (worker.jobs[0].request.width, worker.jobs[0].request.height) == (1184, 896)


def test_errors_are_in_its_own_shape_and_words(client: TestClient, worker: FakeWorker) -> None:
    def refused(response: Any) -> tuple[int, str]:
        assert response.json().keys() == {"code", "message", "status"}
        return response.status_code, response.json()["message"]

    assert refused(client.get(f"{ROUTE}/nothing"))[0] == 404
    assert refused(client.get(f"{ROUTE}/run/qwen-image"))[0] == 405
    assert refused(client.get(f"{ROUTE}/result/none")) == (404, "Task none is not known.")
    assert refused(run(client, "no/model")) == (404, "Model no/model is not served.")
    status, message = refused(run(client, "qwen-image-edit", images=["/a.png"]))
    assert status == 400
    assert "'images[0]'" in message
    worker.fail = Failure("modelNotReady", "The weights are not here.", 503)
    assert run(client).json() == {"code": 503, "message": "The weights are not here.", "status": "failed"}


def test_ids_are_one_clients_whatever_the_dialect(client: TestClient) -> None:
    task = new_task()
    assert post(client, task).status_code == 200
    assert run(client, id=task["taskUUID"]).status_code == 400
    other = new_task()["taskUUID"]
    assert run(client, id=other).status_code == 200
    (item,) = post(client, {"taskType": "getResponse", "taskUUID": other}).json()["data"]
    assert (item["taskType"], item["taskUUID"], item["status"]) == ("imageInference", other, "success")
    (details,) = post(client, {"taskType": "getTaskDetails", "taskUUID": other}).json()["data"]
    assert (details["taskUUID"], details["state"]) == (other, "done")


def test_both_describe_themselves(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1", ROUTE} <= paths.keys()


def test_a_dialect_that_is_switched_off_says_so_in_its_own_words(
    settings: Settings, catalog: Catalog, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "SURFACES", (*app_module.SURFACES, SmallSurface))
    settings = settings.model_copy(update={"dialects": ("small",)})
    app = app_module.create_app(settings, catalog, [worker])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False) as client:
        assert run(client).status_code == 200
        refused = post(client, new_task())
        assert (refused.status_code, error_of(refused)["code"]) == (404, "routeNotFound")
        assert "'runware' is switched off" in error_of(refused)["message"]
        assert client.get("/healthz").status_code == 200
        assert list(client.get("/openapi.json").json()["paths"]).count("/v1") == 0
    settings = settings.model_copy(update={"dialects": ("runware",)})
    app = app_module.create_app(settings, catalog, [worker])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False) as client:
        assert post(client, new_task()).status_code == 200
        assert run(client).json().keys() == {"code", "message", "status"}
        assert "'small' is switched off" in run(client).json()["message"]
