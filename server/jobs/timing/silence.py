"""How long a worker may be silent before it counts as hung.

Between two steps a worker sends its progress. Pure: knows no clock and no process.
"""

from dataclasses import dataclass

from pipelines.request import RenderRequest
from server.jobs.estimates import Estimates
from server.jobs.workers.messages import Loading, Progress, Reply

# A step may take this many times as long as usual: other programs use the device, or blocks wait for host memory.
SLOWER_THAN_USUAL = 20.0
# Of a size that was never rendered: the slowest step of the 20B model on a CPU, and compilations.
UNKNOWN_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """Seconds: `least` is allowed in any case, `loading` is for loading weights, with their download."""

    least: float = 60.0
    loading: float = 7200.0


def allowed_silence(request: RenderRequest, last: Reply | None, estimates: Estimates, limits: SilenceLimits) -> float:
    """The seconds until the next reply to a request must come. `last` is its reply before, None if there was none."""
    if isinstance(last, Loading):
        return limits.loading
    if not estimates.knows(request):
        return max(limits.least, UNKNOWN_SECONDS)
    usual = estimates.step_seconds(request)
    if not isinstance(last, Progress) or last.step >= last.steps:  # a text encoder, a VAE or a file comes before it
        usual += estimates.rest_seconds(request)
    return max(limits.least, SLOWER_THAN_USUAL * usual)
