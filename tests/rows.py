"""Made-up measurements, for tests of what is computed from measurements."""

import zlib
from dataclasses import replace
from typing import Any

from accel.cache.plan import CachePlan
from accel.cache.report import Branch, Decision
from benchmarks.step_caches.results import Case, Measurement, Run, Setup, Similarity
from benchmarks.step_caches.variants import Kind

SETUP = Setup("runware:108@1", "f" * 64, "cpu (1 threads)", "float32", 256, 256)
PLAN = CachePlan("fbcache", 0.25, 3, 18, 3)
LOOP = 2.0  # seconds of the baseline
BASELINE = Run(loop=LOOP, request=2.2, peak_mib=None, host_syncs=0)
BRANCHES: tuple[Branch, Branch] = ("cond", "uncond")


def decisions(pattern: str) -> tuple[Decision, ...]:
    """The decisions of both branches, from a letter a step: R reused, C computed."""
    return tuple(
        Decision(step, 0, branch, "reuse" if letter == "R" else "threshold", 0.1, 0.1)
        for step, letter in enumerate(pattern)
        for branch in BRANCHES
    )


def measurement(
    name: str = "fbCache 0.25",
    *,
    kind: Kind = "cache",
    speedup: float = 2.0,
    ssim: float = 0.99,
    prompt: str = "a red circle",
    pattern: str = "CCRRCRRC",
    on_wire: bool = True,
    setup: Setup = SETUP,
    steps: int = 20,
    executed: int = 20,
    **changes: Any,
) -> Measurement:
    """One measurement; the whole request takes 0.2 seconds more than its loop. `pattern` is computed to its end."""
    cached = kind == "cache"
    loop = LOOP / speedup
    made = Measurement(
        case=Case(
            setup,
            prompt,
            (),
            1,
            steps,
            kind,
            executed,
            replace(PLAN, threshold=zlib.crc32(name.encode())) if cached else None,
        ),
        name=name,
        family="fbCache" if cached else "fewer steps",
        options={"fbCache": True, "fbCacheThreshold": 0.25} if cached else {},
        on_wire=cached and on_wire,
        words=(),
        runs=(Run(loop, loop + 0.2, None, 19),),
        baselines=(BASELINE,),
        similarity=Similarity(psnr=40.0, ssim=ssim, flip=0.01),
        decisions=decisions(pattern.ljust(executed, "C")[:executed]) if cached else (),
        versions={"torch": "2", "diffusers": "0"},
        date="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def by_client(timed: Measurement) -> Measurement:
    """The same as a client of a server measures it, such as the web page: whole requests alone, and no FLIP."""
    return replace(
        timed,
        runs=tuple(Run(None, run.request, None, None) for run in timed.runs),
        baselines=tuple(Run(None, run.request, None, None) for run in timed.baselines),
        similarity=replace(timed.similarity, flip=None),
    )
