"""Configures the log of the API process and of the workers: one line an event on standard error.

A line is text with key=value pairs, coloured on a terminal, or a JSON object. Logging never raises and never waits: no
task may depend on it.
"""

import json
import logging
import sys
from typing import Any

import structlog

from server.options.log_options import LogOptions
from server.process.log_stream import LogStream


def configure_logs(options: LogOptions) -> None:
    """Log events as the options say, in this process. What libraries log follows the same format, from warnings on."""
    stream = _safe_stderr()
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
    ]
    if options.format == "json":
        handler = logging.StreamHandler(stream)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=_json_processors(), foreign_pre_chain=[structlog.stdlib.add_log_level]
            )
        )
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        processors += _json_processors()
    else:
        processors += [
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            _Renderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[options.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )


def _json_processors() -> list[structlog.typing.Processor]:
    return [structlog.processors.TimeStamper(fmt="iso"), structlog.processors.format_exc_info, _as_json]


def _as_json(logger: Any, name: str, event_dict: structlog.typing.EventDict) -> str:
    """An event as a JSON object. A task's id is `taskUUID` there, as on the wire."""
    hidden = {"task": "taskUUID", "_record": None, "_from_structlog": None}
    values = {hidden.get(key, key): value for key, value in event_dict.items()}
    values.pop(None, None)
    return json.dumps(values, ensure_ascii=False, default=_shown)


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  any value's own repr may raise
        return f"(cannot be shown: {type(error).__name__})"


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
