"""The options of the server. Each field is a flag of `ownware serve` and a variable OWNWARE_*.

A flag wins over a variable, and a variable over the default. A variable with the prefix that names no field is an
error, so that a misspelt option is not ignored in silence.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from pipelines.models.residency.options import ModelOptions, PromptFolder
from server.options.access import AccessSettings
from server.options.limits import LimitSettings
from server.options.log_options import LogFormat, LogOptions
from server.options.rendering import RenderingSettings
from server.options.sharing import Sharing
from server.options.tasks import TaskSettings

PREFIX = "OWNWARE_"
# Read by the commands that send tasks to a server: their own key there.
CLIENT_KEY = "OWNWARE_API_KEY"
_PACKAGES = ("fa3", "fa4")  # replace the flash attention of torch


# The fields of a base come after those of the bases that follow it: the help is in the order of a reader.
class Settings(LimitSettings, TaskSettings, RenderingSettings, AccessSettings):
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

    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    tracing: bool = Field(
        default=False,
        description="Send OpenTelemetry spans of requests and tasks; needs the extra otel. OTEL_* variables say where.",
    )
    log_format: LogFormat = Field(
        default="text", description="How a line of the log looks; json: an object, with the taskUUID."
    )

    @field_validator(
        "api_keys", "devices", "webhook_delays", "dialects", "cors_origins", "allowed_hosts", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        return tuple(word for part in parts for word in (w.strip() for w in str(part).split(",")) if word)

    @property
    def log_options(self) -> LogOptions:
        """The least level and the format of the log."""
        return LogOptions(self.log_level, self.log_format)

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
            branch_gains=self.batching_file if self.batched_cfg == "auto" else None,
            graphs=self.graphs == "auto",
        )

    @field_validator("data_dir", "models", "lora_dir", "profile_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None


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
