"""Ends the process that imports it, as a library does that this processor cannot run."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
