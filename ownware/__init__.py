"""Ownware: Qwen-Image and Qwen-Image-Edit on your own machine.

    import ownware

    ownware.generate("a large red circle at the center on a white background", seed=7).save("circle.png")
    ownware.edit("circle.png", "change the background to green", seed=7).save("green.png")

The package imports torch when the first image is rendered.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownware.images.api import edit, generate
    from ownware.images.options import Control
    from ownware.images.result import ImageResult
    from pipelines.request import Outpaint

__all__ = ["Control", "ImageResult", "Outpaint", "__version__", "edit", "generate"]

_MODULES = {
    "generate": "ownware.images.api",
    "edit": "ownware.images.api",
    "Control": "ownware.images.options",
    "ImageResult": "ownware.images.result",
    "Outpaint": "pipelines.request",
}

try:
    __version__ = version("ownware")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ownware' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
