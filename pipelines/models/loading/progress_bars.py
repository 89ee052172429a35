"""The progress bars that the libraries show while they load weights."""

import diffusers.utils.logging
import transformers.utils.logging


def hide_progress_bars() -> None:
    """Load without bars from now on, in this process."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
