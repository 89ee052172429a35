"""Renders in this process, with the models of the settings. The checks of a task are those of the server.

Imports torch when the first picture is rendered.
"""

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ownware.batch.item import BatchError, ItemError, WireTask
from ownware.batch.renderers.base import OnStep, Rendered
from ownware.batch.renderers.defaults import complete_task
from ownware.local_models import LocalModels
from ownware.options import OptionError, default_side
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.fingerprint import file_digest
from pipelines.catalog.models_file import CatalogError
from pipelines.catalog.profiles import Profiles
from pipelines.errors import RenderError, UnsafeContent, first_line
from pipelines.request import RenderRequest
from pipelines.sizes import native_size
from server.api.access.client import Client
from server.api.runware.dialect import parse_task
from server.errors import ApiError, MediaError, TaskRejected
from server.extras import install_command, is_installed
from server.jobs.estimates import Estimates
from server.jobs.timing.step_times import read_estimates
from server.keys.key_table import DATABASE_NAME
from server.media.decoding.decode import check_picture
from server.media.encode import DEFAULT_QUALITY
from server.media.inline_images import decode_data_uri
from server.media.store import Media
from server.settings import Settings
from server.tasks.lora_library import ENDING, lora_of_file, loras_in_folder
from server.tasks.options import SafetyOptions, TaskOptions
from server.tasks.pictures.picture_rules import check_pictures
from server.tasks.resolve import assumed_request, to_request
from server.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from pipelines.generate import GeneratedImage

_MILLION = 1_000_000
# No picture has an address here, and a path must not be taken for one.
_NOBODY = Client(owner="", base_url="ownware:local", listens=False)


class LocalRenderer:
    """The models of this machine. Raises `BatchError` when the settings name none that can be used."""

    def __init__(self, settings: Settings) -> None:
        try:
            self._models = LocalModels.find(settings)
        except (CatalogError, OptionError) as error:
            raise BatchError(str(error)) from error
        self._max_pixels = settings.max_image_megapixels * _MILLION
        self._profiles = Profiles(self._models.catalog, settings.profiles)
        self._options = TaskOptions(
            profiles=self._profiles,
            face_refinement=settings.face_refinement,
            threshold_direction=settings.threshold_direction,
            safety=SafetyOptions(is_installed("nudenet"), settings.safety_default, settings.safety_action),
        )
        self._estimates = read_estimates(settings.data_dir / DATABASE_NAME)
        self._lora_dir = settings.lora_dir
        self._folder = tempfile.TemporaryDirectory(prefix="ownware-")

    @property
    def catalog(self) -> Catalog:
        """The models that can be named."""
        return self._models.catalog

    def complete(self, task: WireTask) -> WireTask:
        """See `Renderer`."""
        return complete_task(task, self.catalog, default_side(self.catalog.entries[0]))

    def check(self, task: WireTask) -> None:
        """See `Renderer`."""
        self._spec(task)

    def seconds(self, task: WireTask) -> float | None:
        """See `Renderer`. As a server of this data folder has learnt; else a guess for the embedded checkpoint."""
        spec = self._spec(task)
        request = assumed_request(spec, self._profiles)
        if self._estimates.knows(request):
            return self._estimates.seconds(request)
        if not spec.model.embedded:
            return None
        width, height = native_size(request.width, request.height, spec.model)
        return Estimates().seconds(replace(request, width=width, height=height))

    def render(self, task: WireTask, on_step: OnStep) -> Iterator[Rendered]:
        """See `Renderer`."""
        spec = self._spec(task)
        pictures = {path: self._picture(path, text, spec) for path, text in spec.pictures.items()}
        try:
            check_pictures(spec, pictures)
        except TaskRejected as error:
            raise _item_error(error) from error
        request, warnings = to_request(spec, pictures, self._profiles)
        for index in range(request.count):
            yield self._render(spec, request, index, (*spec.warnings, *warnings), on_step)

    def close(self) -> None:
        """See `Renderer`."""
        self._folder.cleanup()

    def _render(
        self, spec: TaskSpec, request: RenderRequest, index: int, warnings: tuple[str, ...], on_step: OnStep
    ) -> Rendered:
        from pipelines.generate import generate
        from pipelines.models.devices import device_name
        from pipelines.receipt import make_receipt, with_engaged

        entry = spec.model
        try:
            model = self._models.load_once(entry)
            generated = generate(request, index, model, entry, on_step)
            notes = (*warnings, *generated.warnings, *self._content_notes(spec, generated))
        except RenderError as error:
            message = f"{spec.parameter(error.path)}: {error}" if error.path else str(error)
            raise (BatchError if error.fault == "weights" else ItemError)(message) from error
        except (RuntimeError, MemoryError) as error:  # torch's own: a device out of memory, above all
            raise ItemError(first_line(error)) from error
        encoding = ("PNG", DEFAULT_QUALITY)
        device = device_name(self._models.device)
        made = make_receipt(
            request, generated.seed, encoding, entry, device, model.precision, generated.cache, generated.drift
        )
        receipt = with_engaged(made, model.engaged(entry.air), batched_cfg=generated.batched_branches)
        return Rendered(generated.image, generated.seed, receipt, notes)

    def _content_notes(self, spec: TaskSpec, generated: "GeneratedImage") -> tuple[str, ...]:
        """A note about a picture that is not safe for work. Raises `UnsafeContent` where those are blocked."""
        if not (self._options.safety.by_default if spec.check_content is None else spec.check_content):
            return ()
        from pipelines.detection.content import is_unsafe

        if not is_unsafe(generated.image):
            return ()
        if self._options.safety.action == "block":
            raise UnsafeContent
        return ("not safe for work",)

    def _spec(self, task: WireTask) -> TaskSpec:
        """The task as the server would take it. Raises `ItemError` with all that is wrong."""
        own = {"taskType": "imageInference", "taskUUID": str(uuid.uuid4())}
        named, catalog = self._with_lora_files(task)
        try:
            spec = parse_task({**named, **own}, _NOBODY, catalog, self._options)
        except (TaskRejected, ApiError) as error:
            raise _item_error(error) from error
        if spec.check_content and not self._options.safety.available:
            raise ItemError(f"safety.checkContent needs the detector: {install_command('safety')}")
        return spec

    def _with_lora_files(self, task: WireTask) -> tuple[WireTask, Catalog]:
        """The task with names in the place of LoRA files, and the catalogue with these and those of `lora_dir`.

        Of equal names a file of the task wins, then the catalogue's.
        """
        files, loras = [], []
        for lora in task.get("lora", []):
            path = Path(str(lora.get("model", ""))) if isinstance(lora, dict) else Path()
            if path.suffix == ENDING and path.is_file():
                files.append(lora_of_file(path))
                lora = {**lora, "model": path.stem}
            loras.append(lora)
        named = {**task, "lora": loras} if loras else task
        return named, replace(self.catalog, loras=(*files, *self.catalog.loras, *loras_in_folder(self._lora_dir)))

    def _picture(self, name: str, text: str, spec: TaskSpec) -> Media:
        """A picture of a task that has been decoded once. Raises `ItemError`."""
        path = self._inline(text) if text[:5].lower() == "data:" else Path(text)
        try:
            found = check_picture(path.read_bytes(), self._max_pixels)
        except OSError as error:
            raise ItemError(f"{spec.parameter(name)}: {text[:200]}: {error.strerror}") from error
        except MediaError as error:
            raise ItemError(f"{path.name}: {error.message}") from error
        return Media(
            "", "input", "", path.absolute(), found.mime, found.width, found.height, file_digest(path), 0.0, None
        )

    def _inline(self, text: str) -> Path:
        """The file of a data URI."""
        try:
            data = decode_data_uri(text)
        except MediaError as error:
            raise ItemError(f"a data URI of the task is damaged: {error.message}") from error
        path = Path(self._folder.name, f"{uuid.uuid4()}.bin")
        path.write_bytes(data)
        return path


def _item_error(error: TaskRejected | ApiError) -> ItemError:
    errors = error.errors if isinstance(error, TaskRejected) else (error,)
    return ItemError(" ".join(each.message for each in errors))
