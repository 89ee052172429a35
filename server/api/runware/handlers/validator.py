"""Validates tasks of the types with few parameters. Those of a large request do not hold up the event loop.

Knows no type.
"""

from typing import TypeVar

from server.api.access.client import Client
from server.api.runware.check.normalize import plain
from server.api.runware.check.validation import validate
from server.api.runware.schema.objects import WireModel
from server.api.runware.schema.tasks import WireTask
from server.api.services import Services

M = TypeVar("M", bound=WireModel)


class TaskValidator:
    """Validates against a schema, as the server's settings say."""

    def __init__(self, services: Services) -> None:
        self._pool = services.body_pool
        self._ignore_unknown = services.options.ignore_unknown

    async def __call__(self, model: type[M], raw: WireTask, client: Client) -> M:
        """The typed task. Raises `TaskRejected`."""
        return await self._pool.run(client.size, self._checked, model, raw)

    def _checked(self, model: type[M], raw: WireTask) -> M:
        return validate(model, plain(raw), ignore_unknown=self._ignore_unknown)[0]
