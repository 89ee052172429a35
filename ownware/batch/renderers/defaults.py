"""Fills in the model and the size of a task that names none. Opens the headers of pictures; loads no model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownware.batch.item import ItemError, WireTask
from ownware.batch.picture_facts import PictureFacts, read_facts
from pipelines.catalog.catalog import Catalog, ModelEntry, reference_limits
from pipelines.sizes import edit_size, size_like


def complete_task(task: WireTask, catalog: Catalog, side: int) -> WireTask:
    """The task with a model that takes its number of references, and with a size.

    `side` is that of a picture from a prompt alone. Raises `ItemError`.
    """
    inputs = task.get("inputs", {})
    references = inputs.get("referenceImages", [])
    task = dict(task)
    if "model" not in task:
        task["model"] = _model_for(len(references), catalog).air
    if "width" in task or "height" in task:
        return task
    entry = catalog.find(str(task["model"]))
    size = _size(task, inputs, references, entry, side)
    if size is not None:
        task["width"], task["height"] = size
    return task


def _model_for(references: int, catalog: Catalog) -> ModelEntry:
    for entry in catalog.entries:
        least, most = reference_limits(entry, ())
        if least <= references <= most:
            return entry
    raise ItemError(f"no model takes {references} reference images")


def _size(
    task: WireTask, inputs: Mapping[str, Any], references: list[str], entry: ModelEntry | None, side: int
) -> tuple[int, int] | None:
    """The size that a task leaves open. None where its one reference decides it."""
    seed_image, sides = inputs.get("seedImage"), task.get("outpaint")
    if isinstance(seed_image, str) and isinstance(sides, dict):
        if not all(isinstance(pixels, int) for pixels in sides.values()):
            return None  # the schema says so
        facts = _facts(seed_image)
        wide = facts.width + sides.get("left", 0) + sides.get("right", 0)
        return wide, facts.height + sides.get("top", 0) + sides.get("bottom", 0)
    if len(references) > 1 and entry is not None:
        # The API takes the size of the last reference. The first one is what is edited here.
        first = _facts(references[0])
        return edit_size(first.width, first.height, entry)
    if references:
        return None
    if isinstance(seed_image, str):
        facts = _facts(seed_image)
        return size_like(facts.width, facts.height, side**2)
    return side, side


def _facts(text: str) -> PictureFacts:
    try:
        return read_facts(Path(text))
    except ItemError as error:
        raise ItemError(f"{text}: {error}") from error
