"""The options of what is rendered on which devices, and how. A part of `Settings`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from pipelines.limits import SIDE_MULTIPLE, is_side
from pipelines.models.planning.cards import GIB
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wish, Wishes

# Qwen-Image's prompts have at most this many tokens.
MAX_WARM_WORDS = 1024


class RenderingSettings(BaseSettings):
    """Models, devices, kernels, precisions and memory."""

    models: Path | None = Field(default=None, description="A models.toml of your own instead of the built-in one.")
    weights: Literal["auto", "embedded", "catalog"] = Field(
        default="auto",
        description="embedded: the small checkpoint that needs no download; catalog: what the models file names; "
        "auto: the catalogue's when a models file is given, or those that are here and fit when a GPU is present.",
    )
    devices: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("auto",),
        description="Devices to render on, comma separated: auto, cpu, cuda (every GPU), cuda:0, cuda:1 …",
    )
    compile: Literal["auto", "off"] = Field(
        default="auto",
        description="Compile the transformer's blocks. auto: on a GPU, in a minute at the first start; off: never.",
    )
    exactness: Literal["strict", "relaxed"] = Field(
        default="strict",
        description="How compiled blocks round. strict: as separate kernels do; relaxed: also kernels that round less.",
    )
    fused_heads: Literal["off", "on"] = Field(
        default="off", description="A kernel of our own for the queries and keys of compiled blocks. It needs Triton."
    )
    attention: Literal["auto", "torch", "cudnn", "flash", "fa3", "fa4", "efficient", "math"] = Field(
        default="auto",
        description="Attention kernel of the transformer. auto: the fastest on the GPU, by measurement; torch: torch "
        "chooses. Another one ends the start where it does not run.",
    )
    warm_words: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_WARM_WORDS)], ...], NoDecode] = Field(
        default=(6, *range(16, 65)),
        description="Lengths of prompts in tokens, such as 6,16-64, whose attention cuDNN plans at the start instead "
        "of in the first task of that length.",
    )
    overlap: Literal["auto", "off"] = Field(
        default="auto",
        description="Work beside the steps of the next image. auto: write files, and on a GPU encode and decode on a "
        "second stream; off: one thing after the other.",
    )
    open_tasks: int = Field(
        default=2,
        ge=1,
        le=8,
        description="Tasks that take turns on a device step by step, as far as its memory allows; 1: no turns.",
    )
    batching: Literal["auto", "off"] = Field(
        default="auto",
        description="Advance images of a task, and of several tasks, together. auto: where `ownware bench batching` "
        "has measured that it pays on this device; off: never.",
    )
    batched_cfg: Literal["off", "auto", "on"] = Field(
        default="off",
        description="Run both branches of guidance as one batch. It reads weights once for both. auto: where `ownware "
        "bench batching` has measured that it pays on this device; off by default, because latents may differ by "
        "rounding.",
    )
    graphs: Literal["auto", "off"] = Field(
        default="off",
        description="Replay captured CUDA graphs of the blocks for images of up to 768x768 pixels. auto: where a "
        "measurement shows a gain and the same bits.",
    )
    vram: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        default="auto", description="GPU memory to use, in GiB; auto: all that is free."
    )
    plan_size: str = Field(
        default="auto",
        description="Largest image that the plan leaves room for, such as 2048x2048; auto: 1328x1328, or an edit's.",
    )
    plan_references: int | None = Field(
        default=None, ge=0, le=3, description="Reference images that the plan leaves room for; default: the least."
    )
    precision: Wish = Field(
        default="auto",
        description="Of the transformer: auto, bf16, fp8, int8 or nf4. auto is exact where that is nearly as fast.",
    )
    encoder_precision: Wish = Field(
        default="auto", description="Of the text encoder: auto, bf16, fp8, int8 or nf4. auto is exact where it fits."
    )
    exact_factor: float = Field(
        default=1.3, ge=1, description="How many times slower than the fastest precision auto may be to stay exact."
    )
    streamed_blocks: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        default="auto",
        description="Blocks of the transformer that wait in host memory and are copied in each step: a number; auto: "
        "as planned, none on a CPU.",
    )
    modulation_tables: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Compute the layers that depend on the step alone once, and keep them in host memory. auto: as "
        "planned, off on a CPU.",
    )

    @field_validator("warm_words", mode="before")
    @classmethod
    def _some_lengths(cls, value: object) -> object:
        return expand_ranges(value) if isinstance(value, str) else value

    @field_validator("plan_size")
    @classmethod
    def _some_size(cls, value: str) -> str:
        if value != "auto":
            parse_sides(value)
        return value

    @field_validator("devices")
    @classmethod
    def _some_device(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one device, or auto")
        return value

    @property
    def plan_options(self) -> PlanOptions:
        """How models are planned on a card."""
        vram = None if self.vram == "auto" else int(self.vram * GIB)
        size = None if self.plan_size == "auto" else parse_sides(self.plan_size)
        wishes = Wishes(self.precision, self.encoder_precision, self.exact_factor, self.graphs == "auto")
        return PlanOptions(vram, size=size, references=self.plan_references, wishes=wishes)


def parse_sides(text: str) -> tuple[int, int]:
    """Width and height from `1328x800`. Raises `ValueError`."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and is_side(int(width)) and is_side(int(height))):
        raise ValueError(f"must be a size such as 1328x800, with sides that are multiples of {SIDE_MULTIPLE}")
    return int(width), int(height)


def expand_ranges(text: str) -> tuple[int, ...]:
    """Different numbers from `6,16-18`: 6, 16, 17 and 18; none from an empty text. Raises `ValueError`."""
    found: set[int] = set()
    for part in (part.strip() for part in text.split(",") if part.strip()):
        first, dash, last = (side.strip() for side in part.partition("-"))
        if not (first.isdecimal() and (last.isdecimal() or not dash) and len(part) < 12):
            raise ValueError(f"{part} is no number and no range such as 16-64")
        found.update(range(int(first), min(int(last or first), MAX_WARM_WORDS + 1) + 1))
    return tuple(sorted(found))
