"""`GET /v1/server`: the models with their defaults, the devices, the memory, the queue by key, and the versions.

A key sees its own name in the queue, and only the number of the others. Knows no dialect.
"""

import asyncio
import time
from collections import defaultdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from pipelines.catalog.catalog import Adapter, Mode, ModelEntry, reference_limits
from pipelines.catalog.schedules import LoraSchedule
from pipelines.controlnet.preprocessors import KINDS
from pipelines.limits import PROPOSED_SIDE
from pipelines.receipt import package_versions
from server.api.access.auth import bearer_key
from server.api.services import Services
from server.jobs.policy.fair_share import Waiting
from server.jobs.queue import JobQueue
from server.jobs.supervision.supervisor import WorkerState
from server.machine.memory import Memory, read_memory
from server.tasks.options import ThresholdDirection

SERVER_ROUTE = "/v1/server"
# nvidia-smi is a process of its own, and many pages may ask.
MEMORY_SECONDS = 5.0


class Defaults(BaseModel):
    """What a task takes that leaves these out. `width` and `height` are proposals: text to image needs both."""

    steps: int
    CFGScale: float
    width: int | None = Field(description="null for edits: they keep the aspect of the last reference.")
    height: int | None


class ServedModel(BaseModel):
    """A model. `references` are the fewest and the most reference images."""

    air: str
    name: str
    version: str
    slugs: list[str]
    mode: Mode
    references: tuple[int, int]
    embedded: bool = Field(description="Whether it is the small demonstration checkpoint.")
    defaults: Defaults


class ServedAdapter(BaseModel):
    """A LoRA or a ControlNet. A distilled LoRA changes the default `steps` and `CFGScale`."""

    air: str
    name: str
    version: str
    architecture: str
    weight: float
    steps: int | None = None
    CFGScale: float | None = None


class Device(BaseModel):
    """A device that renders. `model` is what it has loaded, and `plan` says in words where the weights are."""

    name: str
    state: WorkerState
    model: str | None
    plan: str | None
    taskUUID: str | None = Field(description="The task that it renders, if that is this key's.")


class MemoryState(BaseModel):
    """Bytes of the host's memory, or of a card."""

    name: str
    total: int
    free: int


class KeyQueue(BaseModel):
    """The tasks of one key that wait, `low` of them of low priority, and the estimated seconds of rendering them."""

    own: bool
    waiting: int
    low: int
    seconds: float


class Queue(BaseModel):
    """All tasks that wait."""

    waiting: int
    limit: int
    keys: list[KeyQueue]


class Pace(BaseModel):
    """Learnt seconds of one computed step. `tokens` pass through the model in it, over both branches of guidance."""

    model: str
    references: int
    tokens: int
    secondsPerStep: float


class Limits(BaseModel):
    """The largest request, in bytes."""

    bodyBytes: int


class ServerState(BaseModel):
    """The server as a key sees it."""

    status: str
    versions: dict[str, str]
    models: list[ServedModel]
    loras: list[ServedAdapter]
    controlnets: list[ServedAdapter]
    preprocessors: list[str] = Field(description="What controlNetPreprocess makes.")
    thresholdDirection: ThresholdDirection = Field(description="How fbCacheThreshold and dbCacheThreshold count.")
    devices: list[Device]
    memory: list[MemoryState]
    queue: Queue
    paces: list[Pace]
    limits: Limits


def router(services: Services) -> APIRouter:
    """The route over the parts of the server."""
    routes = APIRouter(tags=["server"])
    memory = _MemoryReader()

    @routes.get(SERVER_ROUTE, response_model=ServerState, summary="The state of the server", responses=_REFUSALS)
    async def server(request: Request) -> ServerState:
        """What the server can do, what it does now, and how long that takes."""
        owner = services.keys.owner(bearer_key(request.headers))
        catalog, queue = services.loras.catalog(owner), services.queue
        return ServerState(
            status=queue.problem or "ready",
            versions=package_versions(),
            models=[_model(entry) for entry in catalog.entries],
            loras=[_adapter(row) for row in catalog.loras],
            controlnets=[_adapter(row) for row in catalog.controlnets],
            preprocessors=sorted({*KINDS.values()}),
            thresholdDirection=services.options.threshold_direction,
            devices=_devices(queue, owner),
            memory=[MemoryState(name=each.name, total=each.total, free=each.free) for each in await memory.read()],
            queue=await _queue(queue, owner),
            paces=[
                Pace(model=group.model, references=group.references, tokens=group.tokens, secondsPerStep=seconds)
                for group, seconds in queue.estimates.learnt()
            ],
            limits=Limits(bodyBytes=services.max_body),
        )

    return routes


class _MemoryReader:
    """Reads the memory in a thread, and for all who ask within a few seconds once."""

    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        self._read = -MEMORY_SECONDS
        self._memory: tuple[Memory, ...] = ()

    async def read(self) -> tuple[Memory, ...]:
        """The memory as it is, or was a few seconds ago."""
        async with self._reading:
            if time.monotonic() - self._read >= MEMORY_SECONDS:
                self._memory, self._read = await asyncio.to_thread(read_memory), time.monotonic()
        return self._memory


def _model(entry: ModelEntry) -> ServedModel:
    side = PROPOSED_SIDE if entry.mode == "text_to_image" else None
    return ServedModel(
        air=entry.air,
        name=entry.name,
        version=entry.version,
        slugs=list(entry.slugs),
        mode=entry.mode,
        references=reference_limits(entry, ()),
        embedded=entry.embedded,
        defaults=Defaults(steps=entry.steps, CFGScale=entry.true_cfg_scale, width=side, height=side),
    )


def _adapter(row: Adapter) -> ServedAdapter:
    made_for = row.schedule or LoraSchedule()
    return ServedAdapter(
        air=row.air,
        name=row.name,
        version=row.version,
        architecture=row.architecture,
        weight=row.weight,
        steps=made_for.steps,
        CFGScale=made_for.true_cfg_scale,
    )


def _devices(queue: JobQueue, owner: str) -> list[Device]:
    rows = zip(queue.workers.devices, queue.workers.states, queue.workers.engaged, queue.workers.jobs, strict=True)
    return [
        Device(
            name=name,
            state=state,
            model=None if engaged is None else engaged.model,
            plan=None if engaged is None else str(engaged),
            taskUUID=next((job.submission.task_uuid for job in jobs if job.submission.owner == owner), None),
        )
        for name, state, engaged, jobs in rows
    ]


async def _queue(queue: JobQueue, owner: str) -> Queue:
    by_owner = defaultdict[str, list[Waiting]](list)
    for turn in await queue.turns():
        by_owner[turn.task.owner].append(turn.task)
    keys = [
        KeyQueue(
            own=each == owner,
            waiting=len(tasks),
            low=sum(task.low for task in tasks),
            seconds=round(sum(task.seconds for task in tasks), 1),
        )
        for each, tasks in by_owner.items()
    ]
    return Queue(waiting=sum(key.waiting for key in keys), limit=queue.limit, keys=keys)


_REFUSALS: dict[int | str, dict[str, Any]] = {401: {"description": "Missing or wrong API key."}}
