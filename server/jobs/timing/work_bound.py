"""The bound on the estimated work of one task: it must not hold a device for a day.

Pure. Knows no queue and no wire format.
"""

from pipelines.request import RenderRequest
from server.errors import ValueTooLarge
from server.jobs.estimates import Estimates

_MINUTE, _HOUR = 60.0, 3600.0


def check_work(request: RenderRequest, estimates: Estimates, most: float) -> None:
    """Raise `ValueTooLarge` for a request that is estimated to take more than `most` seconds."""
    seconds = estimates.seconds(request)
    if seconds > most:
        raise ValueTooLarge(
            f"This task would take about {duration(seconds)} here, and a task may take {duration(most)}. "
            "Ask for fewer results, fewer steps or a smaller size."
        )


def duration(seconds: float) -> str:
    """Seconds in words: in hours from two hours on, in minutes from two minutes on."""
    for unit, name in ((_HOUR, "hours"), (_MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"
