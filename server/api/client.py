"""Who sent a task and how its answers travel back."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Client:
    """The sender of a task.

    `owner` tells one key's tasks and images from another's. `base_url` is our address as the sender reached it.
    `listens` is true on a WebSocket, where results of async tasks are pushed and those of sync tasks are sent one by
    one; over HTTP there is one answer. `gone` is set when the sender has hung up and will not come back.
    """

    owner: str
    base_url: str
    listens: bool
    gone: asyncio.Event = field(default_factory=asyncio.Event)
