"""Where a step cache may act in a task: the default window, and when it is too short. Pure; shared by all dialects."""

from dataclasses import dataclass

from accel.cache.plan import CacheName, CachePlan

# The steps of a shorter schedule are too far apart for reuse.
LEAST_STEPS = 10
# The changes from step to step are largest at both ends of a schedule, on Qwen-Image over its first three transitions
# and its last two at 20 steps (raw data of IonDen/mlx-teacache).
LONG_SCHEDULE = 28
WARM_UP, LONG_WARM_UP = 3, 4


@dataclass(frozen=True, slots=True)
class CacheChoice:
    """A step cache that a client asks for. Higher thresholds reuse more.

    That of TeaCache is the client's distance, which the model's profile turns into a threshold. `window` has the first
    executed step that may be reused and the first one after those; None where the client leaves them open.
    """

    strategy: CacheName
    threshold: float
    max_run: int
    window: tuple[int, int] | None = None

    def plan(self, executed: int, name: str, example: str) -> tuple[CachePlan | None, tuple[str, ...]]:
        """The plan for `executed` steps, None if it could reuse nothing, and the warnings for the sender.

        `name` is the client's parameter. `example` is one that sets the window.
        """
        if executed < LEAST_STEPS and self.window is None:
            reason = f"{executed} steps are run, and below {LEAST_STEPS} they are too far apart for reuse"
            return None, (f"{name} is ignored: {reason}. A window, such as {example}, switches it on.",)
        start, end = self.window or default_window(executed)
        if max(start, 1) >= min(end, executed - 1):
            reason = f"no step from {start} up to {end} of the {executed} that are run can be reused"
            return None, (f"{name} is ignored: {reason}. The first and the last never are.",)
        return CachePlan(self.strategy, self.threshold, start, end, self.max_run), ()


def default_window(executed: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end in which reuse is allowed unless the client says otherwise."""
    warm_up = LONG_WARM_UP if executed >= LONG_SCHEDULE else WARM_UP
    cool_down = 1 if executed > LONG_SCHEDULE else 2
    return warm_up, executed - cool_down
