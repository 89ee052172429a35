"""Kinds of weights files that are taken for another kind: how their names show it, and what is said of them."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipelines.models.formats.containers.headers import FormatError

Shows = Callable[[Iterable[str]], bool]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A kind of file that is known and cannot be loaded: how its names show it, and the sentence."""

    shows: Shows
    sentence: str


def some_name(pattern: str) -> Shows:
    """Whether any of some names matches a pattern."""
    found = re.compile(pattern).search
    return lambda names: any(found(name) for name in names)


def refuse(names: Iterable[str], refusals: Iterable[Refusal]) -> None:
    """Raise `FormatError` for the first kind that the names show."""
    listed = tuple(names)
    for refusal in refusals:
        if refusal.shows(listed):
            raise FormatError(refusal.sentence)


LORA = some_name(r"\.(lora_(A|B|down|up)(\..+)?|lokr_\w+|hada_\w+|oft_\w+|dora_scale)(\.weight)?$")
CONTROLNET = some_name(r"^(controlnet_blocks|controlnet_x_embedder)\.")
TRANSFORMER = some_name(r"^((model\.)?diffusion_model\.)?transformer_blocks\.")
TEXT_ENCODER = some_name(r"^(visual|model\.visual|model\.language_model|model\.layers|blk)\.")
VAE = some_name(r"^(encoder|decoder)\.(conv1|conv_in|middle|mid_block)\.")
