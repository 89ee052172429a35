"""The events of imageInference tasks on a WebSocket, for clients that asked for them when they authenticated.

Each is a frame of its own, with the member `events`. A client that is away or far behind misses some events. It still
gets every answer.
"""

import asyncio
import contextlib

from server.api.access.client import Client
from server.api.runware.sockets.sessions import Session
from server.api.services import Services
from server.api.watching.event_writer import EventWriter, ItemWriter
from server.errors import NotFound
from server.jobs.job import Job


class SocketEvents:
    """Follows the tasks of the sessions that want events."""

    def __init__(self, services: Services, dialect: str, items: ItemWriter) -> None:
        self._watch = services.watch
        self._writer = EventWriter({dialect: items})
        self._following: set[asyncio.Task[None]] = set()

    def start(self, job: Job, session: Session, client: Client) -> None:
        """Follow an accepted task, until it ends."""
        following = asyncio.create_task(self._follow(job, session, client))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _follow(self, job: Job, session: Session, client: Client) -> None:
        with contextlib.suppress(NotFound):  # it has been deleted meanwhile
            async for news in self._watch.follow(*job.submission.key):
                event = await self._writer.write(news, client)
                told = {"taskUUID": job.submission.task_uuid, "event": event.name, "data": event.data}
                session.offer({"events": [told]})
