"""`GET /healthz` and `GET /readyz`: for load balancers and process supervisors."""

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from pipelines.models.engaged import Engaged
from server.jobs.queue import JobQueue


class Health(BaseModel):
    """The state of the server and of its devices."""

    status: str
    devices: list[str]


class Readiness(Health):
    """`engaged` is what the model of each device runs with, in the order of `devices`; null before it is loaded."""

    engaged: list[Engaged | None]


def router(queue: JobQueue) -> APIRouter:
    """The health routes over a queue."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", response_model=Health, summary="Is the process alive?")
    async def healthz() -> Health:
        return Health(status="ok", devices=list(queue.workers.devices))

    @routes.get(
        "/readyz",
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "No worker takes tasks yet."}},
        summary="Can it render?",
    )
    async def readyz() -> Response:
        problem = queue.problem
        status = problem or "ready"
        workers = queue.workers
        body = Readiness(status=status, devices=list(workers.devices), engaged=list(workers.engaged)).model_dump()
        return JSONResponse(body, 200 if problem is None else 503)

    return routes
