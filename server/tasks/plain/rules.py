"""Rules about a task and its model that hold in every dialect: its references, its prompts and its LoRAs.

Each rule is a generator of errors, which name the client's parameters as the caller gives them. Knows no wire format.
"""

from collections.abc import Iterator, Mapping, Sequence

from pipelines.catalog.catalog import LORA_ARCHITECTURES, REFERENCES, Adapter, Catalog, ModelEntry, reference_limits
from pipelines.catalog.schedules import ScheduleConflict
from pipelines.catalog.templates import find_control_token
from server.errors import ApiError, IncompatibleParameters, InvalidParameter, MissingParameter, UnsupportedParameter

MAX_NAMED = 10  # LoRAs that a message lists; allowedValues has all


def check_references(
    count: int, entry: ModelEntry, loras: Sequence[Adapter], catalog: Catalog, name: str
) -> Iterator[ApiError]:
    """Whether a model with these LoRAs takes `count` reference images."""
    least, most = reference_limits(entry, loras)
    if least <= count <= most:
        return
    if most == 0:
        editor = next((other.air for other in catalog.entries if REFERENCES[other.mode][1] > 0), None)
        takes_it = f"an edit model such as {editor} takes it" if editor else "no served model takes it"
        yield UnsupportedParameter(f"'{name}' is no parameter of {entry.air}: {takes_it}.", parameter=name)
        return
    wanted = "exactly one image" if least == most else f"{least} to {most} images"
    details = {"type": "array", "min": least, "max": most}
    if count == 0:
        message = f"Missing required parameter '{name}'. {entry.air} takes {wanted}."
        yield MissingParameter(name, message, details=details)
    else:
        message = f"Invalid value for '{name}' parameter. {entry.air} takes {wanted}, {count} were given."
        yield InvalidParameter(name, message, details=details)


def check_drift_guard(align_to: str | int | None, count: int, asked: Sequence[str], name: str) -> Iterator[ApiError]:
    """Whether the `asked` parts of a drift guard have a picture to compare with, of `count` pictures of a name."""
    if not count:
        for part in asked:
            message = f"'{part}' needs a picture to compare with: '{name}'."
            yield IncompatibleParameters(message, parameter=(part, name))
    elif isinstance(align_to, int) and align_to >= count:
        message = f"Invalid value for 'align_to' parameter. There are {count} images, counted from 0, and no number "
        yield InvalidParameter("align_to", f"{message}{align_to}.", details={"type": "integer"})


def check_prompts(texts: Mapping[str, str | None]) -> Iterator[ApiError]:
    """Whether the prompts, by their parameters, are text alone."""
    for name, text in texts.items():
        if token := find_control_token(text or ""):
            message = f"Invalid value for '{name}' parameter. '{token}' is a control token of the model, not text."
            yield InvalidParameter(name, message, details={"type": "string"})


def check_loras(models: Mapping[str, str], entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    """Whether each LoRA, by its parameter, is installed and fits a model."""
    for name, model in models.items():
        row = catalog.find_lora(model)
        if row is None:
            known = [row.air for row in catalog.loras]
            listed = f"Installed are: {', '.join(known[:MAX_NAMED])}." if known else "No LoRA is installed."
            message = f"Invalid value for '{name}' parameter. '{model}' is not installed. {listed}"
            details = {"type": "string", "allowedValues": known}
            yield InvalidParameter(name, message, code="invalidModel", details=details)
        elif row.architecture not in LORA_ARCHITECTURES:
            message = f"Invalid value for '{name}' parameter. '{model}' is a LoRA of architecture "
            message += f"'{row.architecture}', which does not fit {entry.air} ({entry.architecture})."
            yield InvalidParameter(name, message, code="invalidModel", details={"type": "string"})
        elif row.in_context and entry.mode != "text_to_image":
            message = f"Invalid value for '{name}' parameter. '{model}' is an in-context LoRA, which acts on "
            message += f"text-to-image models only, and {entry.air} is for edits."
            yield InvalidParameter(name, message, code="invalidModel", details={"type": "string"})


def lora_conflict(conflict: ScheduleConflict, name: str) -> IncompatibleParameters:
    """The refusal of two LoRAs that were made for different schedules. `name` has brackets for their numbers."""
    names = tuple(name.replace("[]", f"[{number}]") for number in (conflict.first, conflict.second))
    message = f"'{names[0]}' and '{names[1]}' cannot act together: {conflict}."
    return IncompatibleParameters(message, parameter=names)
