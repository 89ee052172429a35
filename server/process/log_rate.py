"""Bounds the lines of one kind that the libraries log, so that strangers cannot fill the disk."""

import logging
import time
from collections import Counter

LINES = 10  # of one kind
SECONDS = 60.0  # until they are counted anew


class RepeatFilter(logging.Filter):
    """Lets `LINES` lines of one template through in each `SECONDS`. The next period begins with the number left out."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[str] = Counter()
        self._begun = time.monotonic()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged. Adds to it how many of its kind were not."""
        kind = str(record.msg)
        if time.monotonic() - self._begun >= SECONDS:
            left_out = max(0, self._seen[kind] - LINES)
            self._seen.clear()
            self._begun = time.monotonic()
            if left_out:
                record.msg = f"{record.msg} ({left_out} more like this were not logged)"
        self._seen[kind] += 1
        return self._seen[kind] <= LINES


def limit_repeats(*loggers: str) -> None:
    """Bound the lines of these loggers."""
    for name in loggers:
        logging.getLogger(name).addFilter(RepeatFilter())
