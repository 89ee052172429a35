"""Reads the task of a picture's receipt, with the files that it names on this machine. Loads no model."""

from collections.abc import Sequence
from pathlib import Path

from ownware.batch.item import BatchError, WireTask
from ownware.batch.manifest import Manifest
from ownware.batch.tasks.receipt_task import task_of_receipt
from ownware.receipt_files import ReplayError, locate_images, read_source
from pipelines.catalog.catalog import BUILT_IN
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.receipt import ReceiptError
from server.settings import Settings


def read_receipt_task(file: Path, pictures: Sequence[Path], settings: Settings) -> tuple[WireTask, tuple[str, ...]]:
    """The task that repeats a picture, and notes on what is left out. Raises `BatchError`.

    Its input pictures are looked for among `pictures`, the sources in the manifest beside it, and the data folder.
    """
    try:
        receipt = read_source(str(file)).receipt
        beside = [Path(entry.source) for entry in Manifest(file.parent).entries.values() if entry.source is not None]
        found = locate_images(receipt, [*pictures, *beside], settings)
        entry = load_catalog(settings.models or BUILT_IN).find(receipt.request.model)
    except (ReceiptError, ReplayError, CatalogError, OSError, SyntaxError) as error:
        raise BatchError(f"--from: {error}") from error
    own = frozenset() if entry is None else frozenset(lora.use.name for lora in entry.loras)
    return task_of_receipt(receipt, own, lambda picture: found[picture.sha256].absolute(), settings.threshold_direction)
