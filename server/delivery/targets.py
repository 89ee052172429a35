"""Where the results of a task are sent beside the answer: a webhook, an upload.

Frozen data, stored with the job. A dialect makes it from a request. Knows no job and no wire format.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that is told by POST what becomes of a task.

    With `each_result` it is told of every result as it becomes available, and of a failure. Otherwise it is told once,
    at the end of the task. `delays` are the seconds between the tries, so there is one try more. `base_url` is this
    server's address as the client reached it: the image URLs in the body start with it.
    """

    url: str
    base_url: str
    delays: tuple[float, ...]
    each_result: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A URL that gets the file of each result by PUT, before the result is answered."""

    url: str


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request to a webhook, as a dialect renders it. `headers` has the content type and a signature."""

    body: bytes
    headers: Mapping[str, str]
