"""Results of a benchmark that nobody ran, for tests of what is made of results."""

import zlib
from dataclasses import replace
from typing import Any

from accel.cache.plan import CachePlan
from accel.cache.report import Branch, Decision
from benchmarks.step_caches.results import Case, Likeness, Place, Result, Run
from benchmarks.step_caches.variants import Kind

PLACE = Place("runware:108@1", "f" * 64, "cpu (1 threads)", "float32", 256, 256)
PLAN = CachePlan("fbcache", 0.25, 3, 18, 3)
TWIN = Run(loop=2.0, request=2.2, peak_mib=None, host_reads=0)
BRANCHES: tuple[Branch, Branch] = ("cond", "uncond")


def decisions(pattern: str) -> tuple[Decision, ...]:
    """Of both branches, from a letter a step: R reused, C computed."""
    return tuple(
        Decision(step, 0, branch, "reuse" if letter == "R" else "threshold", 0.1, 0.1)
        for step, letter in enumerate(pattern)
        for branch in BRANCHES
    )


def result(
    name: str = "fbCache 0.25",
    *,
    kind: Kind = "cache",
    speedup: float = 2.0,
    ssim: float = 0.99,
    prompt: str = "a red circle",
    pattern: str = "CCRRCRRC" + 12 * "C",
    on_wire: bool = True,
    place: Place = PLACE,
    steps: int = 20,
    executed: int = 20,
    **changes: Any,
) -> Result:
    """One result; the whole request takes 0.2 seconds more than its loop."""
    cached = kind == "cache"
    loop = TWIN.loop / speedup
    made = Result(
        case=Case(
            place,
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
        knobs={"fbCache": True, "fbCacheThreshold": 0.25} if cached else {},
        on_wire=cached and on_wire,
        words=(),
        runs=(Run(loop, loop + 0.2, None, 19),),
        twins=(TWIN,),
        likeness=Likeness(psnr=40.0, ssim=ssim, flip=0.01),
        decisions=decisions(pattern) if cached else (),
        versions={"torch": "2", "diffusers": "0"},
        date="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)
