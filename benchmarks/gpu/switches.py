"""The switches of the server that change speed or numbers: what each does to the result, and the rows that measure it.

Knows names of rows and options; measures nothing.
"""

from dataclasses import dataclass
from typing import Literal

from benchmarks.fit.cards import Case, Precision
from benchmarks.gpu.row_groups.cache_rows import COMPILED, NAME
from benchmarks.gpu.row_groups.encoder_rows import ENCODED, ENCODED_FP8
from benchmarks.gpu.row_groups.queue_rows import ONE_BY_ONE, OVERLAPPED
from benchmarks.gpu.row_groups.task_rows import ALONE, IN_ONE_BATCH, IN_ONE_PASS, IN_TURNS, TASKS
from benchmarks.gpu.waterfall import EVERY_KERNEL

_OURS, _COMPILED, _FP8 = "ours", "ours, compiled", "ours, fp8"
_SMALL = "ours, half the side, 20 steps, decoded, compiled"
_FEW = "ours, half the side, 8 steps without guidance, compiled"
_LORA = "ours, 8 steps, LoRA on every layer"
_SAME, _CLOSE, _LOSSY = "the same bits", "close: rounding", "lossy"
_COMPARED = "the same bits, compared at the capture"
FIRST_LENGTH, KNOWN_LENGTH = "attention at a new length", "attention at a known length"

# What the plan of a smaller card chooses on a slower card, and on a faster one.
_PLANNED: tuple[Precision, ...] = "bf16", "fp8"


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch as a user sets it, what it does to the result, and the rows of a benchmark without it and with it.

    `fit` emulates smaller cards, and its rows tell the seconds of a step.
    """

    name: str
    exactness: str
    off: str
    on: str
    benchmark: Literal["gpu", "fit"] = "gpu"


SWITCHES = (
    Switch("`--compile auto`", _CLOSE, _OURS, _COMPILED),
    Switch("`--exactness relaxed`", _CLOSE, _COMPILED, "ours, compiled, relaxed"),
    Switch("`--fused-heads on`", _CLOSE, _COMPILED, "ours, compiled, fused heads"),
    Switch("`--graphs auto`, half the side, 20 steps", _COMPARED, _SMALL, f"{_SMALL}, graphs"),
    Switch("`--graphs auto`, half the side, 8 steps", _COMPARED, _FEW, f"{_FEW}, graphs"),
    Switch("`--batched-cfg on`, or `auto` where it pays", _CLOSE, _COMPILED, "ours, compiled, one batch"),
    Switch("`--batched-cfg on`, half the side", _CLOSE, _SMALL, "ours, half the side, compiled, one batch"),
    Switch("`--modulation-tables on`", _SAME, _COMPILED, "ours, compiled, tables"),
    Switch("`--streamed-blocks 30`", _SAME, _COMPILED, "ours, compiled, 30 blocks streamed"),
    Switch("`--attention torch`", _CLOSE, _OURS, "ours, attention of torch's choice"),
    Switch("`--warm-words`, the first attention of a length", _SAME, FIRST_LENGTH, KNOWN_LENGTH),
    Switch("`--precision fp8`", _LOSSY, _OURS, _FP8),
    Switch("`--precision fp8`, compiled", _LOSSY, _COMPILED, f"{_FP8}, compiled"),
    Switch("`--precision int8`", _LOSSY, _OURS, "ours, int8"),
    Switch("`--precision nf4`", _LOSSY, _OURS, "ours, nf4"),
    Switch("`--encoder-precision fp8`, one prompt", _LOSSY, ENCODED, ENCODED_FP8),
    # On a card that has room for all, the default plan is bf16, and this one is FP8.
    Switch("`--exact-factor 1`, compiled", _LOSSY, _COMPILED, f"{_FP8}, compiled"),
    *(
        Switch(
            f"`--vram 16 --precision {precision}`, one step",
            f"{_SAME} as on a larger card",
            Case(precision, None).name,
            Case(precision, 16).name,
            "fit",
        )
        for precision in _PLANNED
    ),
    Switch("`--overlap auto`, pictures of 8 steps", _SAME, ONE_BY_ONE, OVERLAPPED),
    Switch(f"`--open-tasks 2`, {TASKS} tasks", _SAME, ALONE, IN_TURNS),
    Switch(f"`--batching auto`, {TASKS} tasks", _CLOSE, ALONE, IN_ONE_PASS),
    Switch(f"`--batching auto --batched-cfg on`, {TASKS} tasks", _CLOSE, ALONE, IN_ONE_BATCH),
    Switch("a LoRA inside compiled blocks", _CLOSE, _LORA, f"{_LORA}{COMPILED}"),
    Switch("`--modulation-tables on --exactness relaxed --fused-heads on`, compiled", _CLOSE, _COMPILED, EVERY_KERNEL),
    Switch("`fbCache`, three steps of four reused, compiled", _LOSSY, _COMPILED, f"{_COMPILED}, cached"),
    Switch(
        "`fbCache`, three steps of four reused, `fp8`, compiled",
        _LOSSY,
        f"{_FP8}, compiled",
        f"{_FP8}, compiled, cached",
    ),
    *(
        Switch(f"`{option}`, 5 of 12 steps reused{end}", _LOSSY, f"{NAME}uncached{end}", f"{NAME}ours, {cache}{end}")
        for option, cache in (("fbCache", "first block cache"), ("dbCache", "DBCache"), ("teaCache", "TeaCache"))
        for end in (COMPILED, "")
    ),
)
