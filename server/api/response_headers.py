"""The headers that answers of every dialect share: warnings, when to try again, and when the line is closed."""

import json
from collections.abc import Iterable

WARNINGS_HEADER = "Ownware-Warnings"
RETRY_AFTER_SECONDS = 10


def response_headers(status: int, warnings: Iterable[str] = ()) -> dict[str, str]:
    """The headers of an answer. Warnings go there, because clients reject unknown keys in a body."""
    headers = {}
    if texts := list(dict.fromkeys(warnings)):
        headers[WARNINGS_HEADER] = json.dumps(texts)
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == 413:
        headers["Connection"] = "close"  # the rest of the body is not read
    return headers
