"""The ids of EvoLink's tasks: `task-unified-<seconds>-<suffix>`. Pure except for random numbers and the clock."""

import hashlib
import re
import secrets
import time

from server.errors import InvalidParameter

PREFIX = "task-unified-"
KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{16,96}")
_SUFFIX = 8  # characters


def new_task_id() -> str:
    """An id that no task has."""
    return f"{PREFIX}{int(time.time())}-{secrets.token_hex(_SUFFIX // 2)}"


def task_id_of_key(key: str) -> str:
    """The id of the task of an idempotency key, so that the table of ids finds a repetition.

    Raises `InvalidParameter` for a key of another form.
    """
    if _KEY.fullmatch(key) is None:
        message = f"Invalid value for '{KEY_HEADER}'. It must have 16 to 96 visible ASCII characters."
        raise InvalidParameter(KEY_HEADER, message)
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{PREFIX}{int(digest[:8], 16):010d}-{digest[8:40]}"
