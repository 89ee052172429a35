"""What a worker imports up to its first image. Only the process that workers are forked from imports this module.

An import that fails says nothing here: the worker repeats it, and its words are heard.
"""

import contextlib
import gc
import signal

# A Ctrl-C or a SIGTERM to the group is for the server. It ends its workers, and this process ends after them.
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)

gc.disable()  # nearly every object stays, and scanning them takes a second
with contextlib.suppress(Exception):
    import pipelines.image_render
    import pipelines.models.residency.model_cache  # noqa: F401
    import server.jobs.workers.images.image_group
    import server.jobs.workers.images.open_image
    import server.jobs.workers.process.worker  # noqa: F401

gc.freeze()  # a collection in a fork would write to the memory that it shares
gc.enable()
