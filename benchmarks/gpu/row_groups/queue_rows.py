"""The rows of the GPU benchmark about a queue: pictures that are decoded beside the next steps, or before them.

Knows renders; knows no server.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from benchmarks.gpu.bench import WARM_UP_STEPS, Bench, Case
from benchmarks.runs.budget import Figures, Row
from pipelines.models.running.side_streams import SideStreams
from pipelines.models.running.step_timer import StepPace
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, finish

ONE_BY_ONE, OVERLAPPED = (f"pictures of 8 steps, decoded {how}" for how in ("one by one", "beside the next steps"))
PICTURES = 3
_SECONDS = 8


def queue_rows(bench: Bench, case: Case) -> list[Row]:
    """Both ways, on one case."""
    return [
        Row(name, partial(pictures, bench, case, overlap=overlap), _SECONDS)
        for name, overlap in ((ONE_BY_ONE, False), (OVERLAPPED, True))
    ]


def pictures(bench: Bench, case: Case, *, overlap: bool) -> Figures:
    """Seconds of some renders of a case. `same_bytes` says whether all of them are the same picture."""
    models, side, pace = bench.models(), SideStreams(bench.device), StepPace(bench.device)

    def steps(case: Case) -> RenderState:
        state = bench.begin(models, case)
        while state.step < state.total:
            advance([state])
            pace.keep()
        return state

    def decode(state: RenderState) -> bytes:
        with side.running():
            return finish(state).tobytes()

    with bench.kernels(case.attention), ThreadPoolExecutor(1) as pool:
        pool.submit(decode, steps(replace(case, steps=WARM_UP_STEPS))).result()
        started, found = time.perf_counter(), list[Future[bytes]]()
        for _ in range(PICTURES):
            found.append(pool.submit(decode, steps(case)))
            if not overlap:
                found[-1].result()
        same = len({each.result() for each in found}) == 1
        seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 4), "pictures": PICTURES, "same_bytes": same}
