"""The numbers in RunPod's query strings: how long to wait, how long to keep a job. In milliseconds."""

from collections.abc import Mapping

from server.api.fields.numbers import read_integer
from server.api.runpod.schema import WEEK_MS
from server.errors import InvalidParameter

# https://docs.runpod.io/serverless/endpoints/operation-reference, of `runsync`
LEAST_WAIT_MS, LONGEST_WAIT_MS, DEFAULT_WAIT_MS = 1_000, 300_000, 90_000
# The Python client gives a stream request ten seconds, and names no wait.
DEFAULT_STREAM_WAIT_MS = 5_000
LEAST_TTL_MS = 10_000


def wait_seconds(query: Mapping[str, str], default: int = DEFAULT_WAIT_MS) -> float:
    """How many seconds to hold the line. Raises `InvalidParameter`."""
    return (_number(query, "wait", LEAST_WAIT_MS, LONGEST_WAIT_MS) or default) / 1000


def ttl_seconds(query: Mapping[str, str]) -> float | None:
    """The lifetime that a status request asks for, since the submission. Raises `InvalidParameter`."""
    found = _number(query, "ttl", LEAST_TTL_MS, WEEK_MS)
    return None if found is None else found / 1000


def _number(query: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if (found := read_integer(text, least, most)) is None:
        message = f"Invalid value for '{name}' parameter. It must be a number of milliseconds between {least} and "
        raise InvalidParameter(name, f"{message}{most}.")
    return found
