"""RunPod's endpoints of Qwen-Image: what each one does with a size.

The catalogue says which model an endpoint means. An endpoint that is not in this table takes a size if one is given.
"""

from dataclasses import dataclass

from pipelines.limits import PROPOSED_SIDE

Size = tuple[int, int]
SQUARE: Size = (PROPOSED_SIDE, PROPOSED_SIDE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`default_size` is that of a task without one; None means like its last picture.

    Where `takes_size` is false a size has no effect, because one client sends a square with every edit.
    """

    default_size: Size | None = None
    takes_size: bool = True


# https://github.com/runpod/docs, public-endpoints/models/qwen-*.mdx
ENDPOINTS = {
    "qwen-image-edit": Endpoint(takes_size=False),
    "qwen-image-edit-2511": Endpoint(SQUARE),
    "qwen-image-edit-2511-lora": Endpoint(SQUARE),
    "qwen-image-t2i": Endpoint(SQUARE),
    "qwen-image-t2i-lora": Endpoint(SQUARE),
}


def endpoint_of(name: str) -> Endpoint:
    """The rules of an endpoint. Letter case is ignored."""
    return ENDPOINTS.get(name.lower(), Endpoint())
