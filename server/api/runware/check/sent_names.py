"""Renames parameters in errors to the names that the client sent.

Normalization renames parameters before the checks, so errors have the documented names.
"""

from collections.abc import Iterator, Sequence

from server.api.runware.check.normalize import ACCELERATOR_ALIASES
from server.api.runware.schema.tasks import WireTask
from server.errors import ApiError

# Each documented name, and the other names that normalization accepts for it.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "safety.checkContent": ("checkNSFW",),
    "settings.trueCFGScale": ("trueCFGScale",),
    "advancedFeatures.ultralytics": ("ultralytics",),
    "inputs.seedImage": ("seedImage", "inputs.image"),
    "inputs.maskImage": ("maskImage", "inputs.mask"),
    "inputs.strength": ("strength",),
    "inputs.referenceImages": ("referenceImages", "inputs.images", "inputs.references"),
    "inputs.referenceImages[0]": ("inputs.image",),
    "inputImage": ("inputs.image",),
    **{f"acceleratorOptions.{new}": (f"acceleratorOptions.{old}",) for old, new in ACCELERATOR_ALIASES.items()},
}


def as_sent(errors: Sequence[ApiError], task: WireTask) -> Sequence[ApiError]:
    """Change the errors of a task so that they have the parameter names of the raw task."""
    for error in errors:
        names = (error.parameter,) if isinstance(error.parameter, str) else error.parameter or ()
        renamed = {name: sent for name in names for sent in _sent(name, task)}
        for name, sent in renamed.items():
            error.message = error.message.replace(f"'{name}'", f"'{sent}'")
        sent_names = tuple(renamed.get(name, name) for name in names)
        if renamed:
            error.parameter = sent_names[0] if isinstance(error.parameter, str) else sent_names
    return errors


def _sent(name: str, task: WireTask) -> Iterator[str]:
    """The task's own name for a documented one. Nothing if it is the same."""
    for documented, spellings in _SPELLINGS.items():
        rest = name.removeprefix(documented)
        if (rest == name or rest[:1] not in ("", ".", "[")) or _has(task, documented.partition("[")[0]):
            continue
        for spelling in spellings:
            if _has(task, spelling):
                yield spelling + rest


def _has(task: WireTask, name: str) -> bool:
    outer, _, inner = name.partition(".")
    value = task.get(outer)
    return value is not None and (not inner or (isinstance(value, dict) and value.get(inner) is not None))
