"""Turns a window of steps, absolute or in percent, into executed steps."""

Bounds = tuple[int | None, int | None]  # start and end, None where not given


def step_window(executed: int, steps: Bounds, percentages: Bounds, default: tuple[int, int]) -> tuple[int, int]:
    """The executed steps start ≤ step < end. A percentage includes every step that it touches.

    `executed` is the number of executed steps. With a seed image there are fewer than asked for.
    """
    start, end = default
    start_percentage, end_percentage = percentages
    if start_percentage is not None:
        start = executed * start_percentage // 100
    if end_percentage is not None:
        end = -(-executed * end_percentage // 100)  # rounded up
    start_step, end_step = steps
    if start_step is not None:
        start = start_step
    if end_step is not None:
        end = end_step
    return start, min(end, executed)
