import io
import logging

import pytest

from server.process import log_rate
from server.process.log_rate import LINES, limit_repeats


def test_lines_of_one_kind_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(log_rate.time, "monotonic", lambda: now[0])
    logger, log = logging.getLogger("tests.log_rate"), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(log)])
    limit_repeats(logger.name)
    for number in range(1000):
        logger.warning("refused %s", number)
    logger.warning("another kind")
    assert len(log.getvalue().splitlines()) == LINES + 1
    now[0] += 61
    logger.warning("refused %s", 7)
    assert log.getvalue().splitlines()[-1] == f"refused 7 ({1000 - LINES} more like this were not logged)"
    logger.warning("refused %s", 8)
    assert log.getvalue().splitlines()[-1] == "refused 8"
