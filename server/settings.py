"""The options of the server. Each field is a flag of `ownware serve` and a variable OWNWARE_*.

A flag wins over a variable, and a variable over the default. A variable with the prefix that names no field is an
error, so that a misspelt option is not ignored in silence.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipelines.limits import SIDE_MULTIPLE, is_side
from pipelines.models.planning.cards import GIB
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wish, Wishes
from pipelines.models.residency.options import ModelOptions, PromptFolder
from server.delivery.signatures import secret_key
from server.log_options import LogFormat, LogOptions
from server.sharing import Sharing

PREFIX = "OWNWARE_"
# Read by the commands that send tasks to a server: their own key there.
CLIENT_KEY = "OWNWARE_API_KEY"
# Every dialect by its name, as `server.app` serves them.
DIALECTS = ("runware", "evolink", "openai", "wavespeed", "runpod")
ALL = "all"
_PACKAGES = ("fa3", "fa4")  # replace the flash attention of torch
# Qwen-Image's prompts have at most this many tokens.
MAX_WARM_WORDS = 1024


class Settings(BaseSettings):
    """Serve Qwen-Image and Qwen-Image-Edit over Runware's API."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="ownware serve",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    data_dir: Path = Field(
        default=Path("~/.ownware"), description="Folder of the task queue, the results, uploaded images and LoRAs."
    )
    open: bool = Field(
        default=False,
        description="Listen beyond this machine without API keys too. Otherwise --host needs a key to have an effect.",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Accepted API keys, comma separated, beside those of `ownware keys`. Without any of either, every "
        "key is accepted.",
    )
    public_url: str | None = Field(
        default=None,
        description="Base of image URLs, such as https://box.example; default: as the client addressed us.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose web pages may use the API, such as https://app.example, comma separated; "
        "* for all; empty: only the server's own pages.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Further names that clients may reach the server by, comma separated; * for all; empty: "
        "all with API keys, else those of this machine and of the public URL.",
    )
    page: bool = Field(default=True, description="Serve the web page to browsers at /.")
    metrics: Literal["public", "key"] = Field(
        default="public", description="Who may read /metrics: everybody, or whoever sends an API key."
    )
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port that serves /metrics and nothing else; default: the API's port."
    )
    allow_private_urls: bool = Field(
        default=False, description="Fetch input images from private and loopback addresses too."
    )
    dialects: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(ALL,),
        description=f"Dialects to serve, comma separated: {', '.join(DIALECTS)}; {ALL} for every one. The paths of the "
        "others answer 404.",
    )
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
        description="Advance several images of a task together. auto: where `ownware bench batching` has measured that "
        "it pays on this device; off: never.",
    )
    batched_cfg: Literal["off", "on"] = Field(
        default="off",
        description="Run both branches of guidance as one batch. It reads weights once for both; latents differ by "
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
    face_refinement: bool = Field(
        default=False,
        description="Let advancedFeatures.ultralytics render the faces of an image again; needs the extra faces.",
    )
    lora_dir: Path | None = Field(
        default=None, description="Folder of LoRAs: every *.safetensors in it is called by its name without the ending."
    )
    profile_dir: Path | None = Field(
        default=None, description="Folder of your own TeaCache profiles; default: profiles in the data folder."
    )
    result_ttl: int = Field(
        default=86_400, ge=60, description="Seconds until a result that names no ttl of its own expires."
    )
    unknown_parameters: Literal["error", "ignore"] = Field(
        default="error", description="What to do with a parameter that the API does not have."
    )
    unsupported_parameters: Literal["error", "warn"] = Field(
        default="error",
        description="What to do with a parameter of the API that has no effect here, such as refiner or vae.",
    )
    gone_clients: Literal["cancel", "finish"] = Field(
        default="cancel",
        description="What to do with a waiting sync task whose HTTP client has hung up. A running one is finished.",
    )
    webhook_secret: str | None = Field(
        default=None, description="Signs webhooks: 24 to 64 random bytes in base64, with or without whsec_ before it."
    )
    webhook_delays: Annotated[tuple[Annotated[float, Field(ge=0, le=86_400)], ...], NoDecode] = Field(
        default=(5.0, 30.0, 120.0, 600.0),
        description="Seconds between the tries of a webhook, comma separated; a fifth is added at random.",
    )
    webhook_timeout: float = Field(default=10.0, gt=0, description="Seconds that a webhook's receiver may take.")
    upload_timeout: float = Field(default=30.0, gt=0, description="Seconds that one try of an upload may take.")
    safety_default: bool = Field(
        default=False, description="Check the images of tasks that do not say whether to; needs the extra safety."
    )
    safety_action: Literal["flag", "block"] = Field(
        default="flag",
        description="What to do with an image that is not safe for work. flag: its result says so; block: it is not "
        "kept, and its task fails.",
    )
    threshold_direction: Literal["documented", "library"] = Field(
        default="documented",
        description="How fbCacheThreshold and dbCacheThreshold count. documented: lower reuses more, as the API's "
        "pages say; library: higher does.",
    )
    hang_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Least seconds without a step until a worker counts as hung and is started again; more where "
        "steps take longer.",
    )
    load_timeout: float = Field(
        default=7200.0, gt=0, description="Seconds that loading a model may take, with its download."
    )
    max_queue: int = Field(default=200, ge=1, description="Tasks that may wait before new ones are refused.")
    max_task_seconds: float = Field(
        default=21_600, gt=0, description="Seconds that a task may take, by the learnt seconds of its steps."
    )
    max_queue_seconds: float = Field(
        default=86_400, gt=0, description="Estimated seconds of rendering that may wait before new tasks are refused."
    )
    max_key_queue: int | None = Field(
        default=None, ge=1, description="Tasks of one key that may wait; default: no bound but that of all."
    )
    max_key_queue_seconds: float | None = Field(
        default=None, gt=0, description="Estimated seconds of one key that may wait; default: no bound but that of all."
    )
    max_body_mb: int = Field(default=100, ge=1, description="Largest request body, in millions of bytes.")
    max_image_megapixels: int = Field(default=64, ge=1, description="Largest input image, in millions of pixels.")
    prompt_cache_mb: int = Field(
        default=2000,
        ge=0,
        description="Prompt encodings to keep in the data folder, in millions of bytes; 0 keeps none.",
    )
    min_free_mb: int = Field(
        default=100, ge=0, description="Free space on the data folder's disk that tasks need, in millions of bytes."
    )
    fetch_timeout: float = Field(default=10.0, gt=0, description="Seconds to wait for an input image's URL.")
    max_lora_mb: int = Field(default=4000, ge=1, description="Largest LoRA to install, in millions of bytes.")
    lora_timeout: float = Field(default=1800.0, gt=0, description="Seconds that the download of a LoRA may take.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    tracing: bool = Field(
        default=False,
        description="Send OpenTelemetry spans of requests and tasks; needs the extra otel. OTEL_* variables say where.",
    )
    log_format: LogFormat = Field(
        default="text", description="How a line of the log looks; json: an object, with the taskUUID."
    )

    @field_validator("webhook_secret")
    @classmethod
    def _some_secret(cls, value: str | None) -> str | None:
        if value is not None:
            secret_key(value)
        return value

    @field_validator(
        "api_keys", "devices", "webhook_delays", "dialects", "cors_origins", "allowed_hosts", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        return tuple(word for part in parts for word in (w.strip() for w in str(part).split(",")) if word)

    @field_validator("warm_words", mode="before")
    @classmethod
    def _some_lengths(cls, value: object) -> object:
        return expand_ranges(value) if isinstance(value, str) else value

    @field_validator("metrics_port")
    @classmethod
    def _own_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value == info.data.get("port"):
            raise ValueError("must not be the port of the API")
        return value

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

    @field_validator("dialects")
    @classmethod
    def _known_dialects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted({*value} - {*DIALECTS, ALL}):
            raise ValueError(f"{unknown[0]} is no dialect; there are {', '.join(DIALECTS)}, and {ALL}")
        if not value:
            raise ValueError(f"name at least one dialect, or {ALL}")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _some_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(origin.removesuffix("/") for origin in value)
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"):
                raise ValueError(f"{origin} is no origin such as https://app.example")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _some_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*" and urlsplit(f"//{name}").hostname != name.lower():
                raise ValueError(f"{name} is no name such as box.example, without scheme and port")
        return value

    @field_validator("public_url")
    @classmethod
    def _http_base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http or https address without query")
        _ = parts.port  # raises ValueError when it is no number or above 65535
        return value.rstrip("/")

    def serves(self, dialect: str) -> bool:
        """Whether a dialect is switched on."""
        return dialect in self.dialects or ALL in self.dialects

    @property
    def ports(self) -> dict[str, int]:
        """The ports to listen on, the API's first, by the flags that name them."""
        return {"--port": self.port} | ({} if self.metrics_port is None else {"--metrics-port": self.metrics_port})

    @property
    def log_options(self) -> LogOptions:
        """The least level and the format of the log."""
        return LogOptions(self.log_level, self.log_format)

    @property
    def plan_options(self) -> PlanOptions:
        """How models are planned on a card."""
        vram = None if self.vram == "auto" else int(self.vram * GIB)
        size = None if self.plan_size == "auto" else parse_sides(self.plan_size)
        wishes = Wishes(self.precision, self.encoder_precision, self.exact_factor)
        return PlanOptions(vram, size=size, references=self.plan_references, wishes=wishes)

    @property
    def sharing(self) -> Sharing:
        """How the images of a worker share its device."""
        batching = self.batching_file if self.batching == "auto" else None
        return Sharing(overlap=self.overlap == "auto", renders=self.open_tasks, batching=batching)

    @property
    def batching_file(self) -> Path:
        """What `ownware bench batching` has measured."""
        return self.data_dir / "batching.json"

    @property
    def profiles(self) -> Path:
        """The folder of the user's own TeaCache profiles."""
        return self.profile_dir or self.data_dir / "profiles"

    @property
    def model_options(self) -> ModelOptions:
        """How the workers keep models."""
        budget = self.prompt_cache_mb * 10**6
        return ModelOptions(
            plan=self.plan_options,
            prompts=PromptFolder(self.data_dir / "prompts", budget) if budget else None,
            streamed_blocks=None if self.streamed_blocks == "auto" else self.streamed_blocks,
            tables=None if self.modulation_tables == "auto" else self.modulation_tables == "on",
            compiled=self.data_dir / "compiled" if self.compile == "auto" else None,
            relaxed=self.exactness == "relaxed",
            fused_heads=self.fused_heads == "on",
            attention=self.attention if self.attention not in _PACKAGES else f"flash {self.attention.upper()}",
            warm_words=self.warm_words,
            batched_cfg=self.batched_cfg == "on",
            graphs=self.graphs == "auto",
        )

    @field_validator("data_dir", "models", "lora_dir", "profile_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None


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


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A message for each variable with the prefix that names nothing. It offers the nearest option."""
    known = {name.upper() for name in Settings.model_fields}
    messages = []
    for name in sorted(environment):
        option = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and option not in known and name != CLIENT_KEY:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            messages.append(f"{name} is no option of ownware{hint}")
    return messages
