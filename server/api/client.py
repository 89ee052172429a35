"""Who sent a task and how its answers travel back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """The sender of a task.

    `owner` tells one key's tasks and images from another's. `base_url` is our address as the sender reached it.
    `listens` is true on a WebSocket, where results of async tasks are pushed and those of sync tasks are sent one by
    one; over HTTP there is one answer.
    """

    owner: str
    base_url: str
    listens: bool
