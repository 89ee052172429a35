"""Settings of Python's interpreter with which the event loop answers soon while other threads compute."""

import gc
import sys

# After which a thread that computes gives way. The event loop takes its turn several times for each answer.
SWITCH_SECONDS = 0.001


def tune_interpreter() -> None:
    """Let threads give way sooner, and let no collection of garbage look at what is loaded. Blocks for a moment.

    A full collection would go through all modules and schemas, and hold up every client for a tenth of a second.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
