"""The decisions of the server's owner that hold for all tasks, whatever their dialect."""

from dataclasses import dataclass
from typing import Literal

from pipelines.catalog.profiles import Profiles
from server.jobs.job import SafetyAction

ThresholdDirection = Literal["documented", "library"]


@dataclass(frozen=True, slots=True)
class SafetyOptions:
    """How images are checked for being safe for work. `available` is false without the extra."""

    available: bool = False
    by_default: bool = False
    action: SafetyAction = "flag"


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The server-wide options of tasks, as `server.settings` describes them. Times are in seconds.

    `webhook_delays` are those between the tries of a webhook, where the dialect has no others.
    """

    profiles: Profiles
    result_ttl: int = 86_400
    ignore_unknown: bool = False
    let_unsupported_pass: bool = False
    face_refinement: bool = False
    threshold_direction: ThresholdDirection = "documented"
    cancel_for_gone_clients: bool = True
    webhook_delays: tuple[float, ...] = ()
    safety: SafetyOptions = SafetyOptions()
