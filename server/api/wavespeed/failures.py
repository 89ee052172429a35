"""Why a prediction failed, in the vendor's codes, and in words that no client takes for a reason to submit again."""

import re

from server.errors import Failure
from server.jobs.job import CANCELLED
from server.tasks.endings.deadlines import TIMED_OUT

# The vendor's page "Error Codes".
MODERATION, INVALID, UNREACHABLE, EXECUTION, INTERNAL, UNAVAILABLE, TIMEOUT = 1200, 1401, 1402, 1403, 5000, 5003, 5004
_CODES = {
    "nsfwContentDetected": MODERATION,
    "invalidModel": INVALID,
    "valueTooLarge": INVALID,
    "incompatibleParameters": INVALID,
    "imageNotFound": UNREACHABLE,
    "modelNotReady": UNAVAILABLE,
    "serviceUnavailable": UNAVAILABLE,
    "internalServerError": INTERNAL,
    TIMED_OUT.code: TIMEOUT,
}
# With retries switched on, the two SDKs submit again when the text of a failure holds one of these.
_TRAPS = (
    (re.compile(r"http[\s_-]*(?=\d)", re.IGNORECASE), "status "),
    (re.compile(r"429"), "“too many requests”"),
    (re.compile(r"timeout", re.IGNORECASE), "time limit"),
    (re.compile(r"connection", re.IGNORECASE), "link"),
)


def code_of(failure: Failure) -> int | None:
    """The code of a failure. None for a cancelled prediction, which has a status of its own."""
    if failure.code == CANCELLED.code:
        return None
    if failure.code in _CODES:
        return _CODES[failure.code]
    return UNREACHABLE if failure.code.startswith("invalidImage") else EXECUTION


def text_of(failure: Failure) -> str:
    """The text of a failure."""
    text = failure.message
    for trap, word in _TRAPS:
        text = trap.sub(word, text)
    return text
