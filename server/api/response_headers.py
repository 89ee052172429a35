"""The headers that answers of every dialect share: warnings, when to try again, and when the line is closed."""

import json
from collections.abc import Iterable

WARNINGS_HEADER = "Ownware-Warnings"
RETRY_AFTER_SECONDS = 10  # where nothing can be estimated: the server starts or stops
# aiohttp refuses an answer with a header of more than 8190 bytes. Proxies refuse all headers above 4 to 8 kB.
MAX_WARNINGS_BYTES = 2048


def response_headers(status: int, warnings: Iterable[str] = (), *, retry_after: int | None = None) -> dict[str, str]:
    """The headers of an answer. Warnings go there, because clients reject unknown keys in a body.

    `retry_after` are the estimated seconds until the same request may succeed, for a status that says so.
    """
    headers = {}
    if texts := list(dict.fromkeys(warnings)):
        headers[WARNINGS_HEADER] = _warnings(texts)
    if status in (429, 503):
        headers["Retry-After"] = str(retry_after or RETRY_AFTER_SECONDS)
    if status in (408, 413):
        headers["Connection"] = "close"  # the rest of the body is not read
    return headers


def _warnings(texts: list[str]) -> str:
    """The first warnings that fit, as a JSON array. Its last text then says how many are left out."""
    kept = min(len(texts), MAX_WARNINGS_BYTES // 4)  # the shortest text takes four bytes, with its quotes and comma
    while len(shown := json.dumps([*texts[:kept], *_left_out(len(texts) - kept)])) > MAX_WARNINGS_BYTES:
        kept -= 1
    return shown


def _left_out(number: int) -> list[str]:
    return [f"{number} more; getTaskDetails has those of a task."] if number else []
