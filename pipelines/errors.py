"""The error tree of rendering: why a request cannot be rendered here.

    RenderError              fault
    ├── LoadError            weights   weights that are missing, damaged, or not made for the task
    ├── LoraError            adapter   a LoRA file that is missing, damaged, or made for another model
    ├── ControlError         adapter   a ControlNet that cannot be loaded, or made for another model
    ├── PictureError         input     a picture that can no longer be opened
    ├── PromptError          input     a prompt that the tokenizer would misread
    ├── SizeError            size      a request that takes more memory than the device has
    ├── ResultError          result    latents or pixels that are not finite numbers
    └── UnsafeContent        content   an image that the content check blocks

Messages are fit for the sender. Knows no wire format, and imports no torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

# What is at fault: the served model, an adapter that the request names, something that the request brought along, its
# size, the numbers of the result, or what it shows.
Fault = Literal["weights", "adapter", "input", "size", "result", "content"]


class RenderError(Exception):
    """A request cannot be rendered.

    `path` is the part of the `RenderRequest` at fault, such as `loras[1]`, `controls[0].control_image` or `prompt`, and
    None where no single part is.
    """

    fault: ClassVar[Fault]

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class LoadError(RenderError):
    """Weights cannot be used; the message names them and says why."""

    fault = "weights"


class LoraError(RenderError):
    """A LoRA cannot be used; the message says why."""

    fault = "adapter"


class ControlError(RenderError):
    """A ControlNet cannot be used; the message names it and says why."""

    fault = "adapter"


class PictureError(RenderError):
    """A picture cannot be opened; the message says why."""

    fault = "input"


class PromptError(RenderError):
    """A prompt cannot be encoded; the message says why."""

    fault = "input"


class SizeError(RenderError):
    """A request takes more memory than the device has; the message says how much."""

    fault = "size"


class ResultError(RenderError):
    """A finished image is no picture; the message says why."""

    fault = "result"


class UnsafeContent(RenderError):
    """A picture shows what its task does not allow."""

    fault = "content"

    def __init__(self) -> None:
        super().__init__("The image was not safe for work, so it was not kept.", "check_content")


def first_line(error: BaseException) -> str:
    """An error's message, cut to its first line; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def part_at_fault(path: str) -> Iterator[None]:
    """Give errors raised inside the block this path, unless they have one."""
    try:
        yield
    except RenderError as error:
        error.path = error.path or path
        raise
