"""The tasks accountManagement and ping: usage of a key, and an answer at once."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from server.api.access.client import Client
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer, Item
from server.api.runware.schema.tasks import AccountManagement, Ping, WireTask
from server.api.services import Services
from server.keys.usage import day_of


class Account:
    """Answers accountManagement and ping."""

    def __init__(self, services: Services) -> None:
        self._usage = services.usage
        self._keys = services.keys
        self._validate = TaskValidator(services)

    async def account_management(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """The usage of the client's key, in images. The balance is 0, because clients expect a number."""
        task = await self._validate(AccountManagement, raw, client)
        images, today = await self._usage.images_by_day(client.owner), day_of(time.time())
        first_days = {"total": 0, "today": today, "last7Days": today - 6, "last30Days": today - 29}
        counts = {
            name: sum(number for day, number in images.items() if day >= first) for name, first in first_days.items()
        }
        yield Answer(
            data=(
                {
                    "taskType": task.taskType,
                    "taskUUID": task.taskUUID,
                    "operation": task.operation,
                    "organizationUUID": "00000000-0000-4000-8000-000000000000",
                    "organizationName": "Ownware",
                    "balance": 0.0,
                    "team": [],
                    "apiKeys": self._own_key(client.owner, counts["total"]),
                    "usage": {name: {"credits": 0.0, "requests": count} for name, count in counts.items()},
                },
            )
        )

    def _own_key(self, owner: str, images: int) -> list[Item]:
        """The client's key with its limits. Empty for a key of the settings, and without keys."""
        key = self._keys.stored(owner)
        if key is None:
            return []
        item: Item = {"name": key.name, "apiKey": f"{key.prefix}…", "createdAt": _iso(key.created), "requests": images}
        limits: Item = {
            "weight": key.limits.weight,
            "ratePerMinute": key.limits.rate,
            "concurrency": key.limits.concurrency,
        }
        limits["expiresAt"] = None if key.expires is None else _iso(key.expires)
        return [item | {name: value for name, value in limits.items() if value is not None}]

    async def ping(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer at once."""
        task = await self._validate(Ping, raw, client)
        item: Item = {"taskType": "ping", "pong": True}
        yield Answer(data=(item | ({"taskUUID": task.taskUUID} if task.taskUUID else {}),))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
