"""What is logged, and how a line looks. Plain data, for every process of the server."""

from dataclasses import dataclass
from typing import Literal

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The least level that is logged (debug, info, warning, error), and the format of a line."""

    level: str
    format: LogFormat = "text"
