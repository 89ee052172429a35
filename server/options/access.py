"""The options of who reaches the server, where, and by which API. A part of `Settings`."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

# Every dialect by its name, as `server.app` serves them.
DIALECTS = ("runware", "evolink", "openai", "wavespeed", "runpod")
ALL = "all"


class AccessSettings(BaseSettings):
    """Addresses, names, keys and dialects."""

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

    @field_validator("metrics_port")
    @classmethod
    def _own_port(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value == info.data.get("port"):
            raise ValueError("must not be the port of the API")
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
