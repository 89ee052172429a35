"""Configures the log of the API process and of the workers: one line an event on standard error, with key=value pairs.

A terminal gets colours. Logging never raises and never waits: no task may depend on it.
"""

import logging
import sys
from typing import Any

import structlog

from server.process.log_stream import LogStream


def configure_logs(level: str) -> None:
    """Log events of this level (debug, info, warning, error) and above."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            _Renderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(_safe_stderr()),
    )


class _Renderer(structlog.dev.ConsoleRenderer):
    """The console renderer. An event that it cannot render is named without its values."""

    def __call__(self, logger: Any, name: str, event_dict: structlog.typing.EventDict) -> str:
        event = event_dict.get("event")
        try:
            return super().__call__(logger, name, event_dict)
        except Exception as error:  # noqa: BLE001  any value's own repr may raise
            return f"[{name}] {event} (its values cannot be shown: {type(error).__name__})"


def _safe_stderr() -> Any:
    return sys.stderr if isinstance(sys.stderr, LogStream) else LogStream(sys.stderr)
