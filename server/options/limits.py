"""The options that bound time, space and the queue. A part of `Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """Seconds, megabytes and numbers of tasks."""

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
