"""A small ASGI app behind the guarded protocols, on a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from server.connections.body_budget import BodyBudget
from server.connections.guard import ConnectionGuard
from server.connections.guarded_http import GuardedHttp
from server.connections.guarded_socket import GuardedSocket

LARGE = 10_000


@contextlib.asynccontextmanager
async def guarded_server(
    app: ASGIApp, *, connections: int = 8, budget: BodyBudget | None = None, small: int = 100
) -> AsyncIterator[int]:
    """Serve an app, and give the port."""
    guard = ConnectionGuard(connections)
    budget = budget or BodyBudget(10**6)
    config = uvicorn.Config(
        app,
        port=0,
        log_level="error",
        lifespan="off",
        http=partial(GuardedHttp, guard=guard),  # type: ignore[arg-type]
        ws=partial(GuardedSocket, guard=guard, budget=budget, small=small),  # type: ignore[arg-type]
        ws_max_size=LARGE,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running
