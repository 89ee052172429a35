"""The parts that the dialects share: keys, tasks, pictures and models. `server.app` makes them once."""

from dataclasses import dataclass

from server.api.access.auth import ApiKeys
from server.api.bodies.body_pool import BodyPool
from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.sender import Sender
from server.delivery.uploads import Uploader
from server.jobs.queue import JobQueue
from server.jobs.storage.history import JobHistory
from server.jobs.storage.store import JobStore
from server.keys.usage import Usage
from server.media.decoding.decoder_pool import DecoderPool
from server.media.fetching.fetch import Fetcher
from server.media.gallery import Gallery
from server.media.inputs import InputImages
from server.media.store import MediaStore
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.endings.deadlines import Deadlines
from server.tasks.lora_library import LoraLibrary
from server.tasks.options import TaskOptions
from server.tasks.pictures.picture_tasks import PictureTasks
from server.tasks.pictures.picture_uploads import PictureUploads
from server.tasks.submit import TaskService
from server.tasks.task_ids import TaskIds
from server.tasks.watching import TaskWatch


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server. `max_body` is in bytes; `public_url` None means as each client addresses us."""

    public_url: str | None
    max_body: int
    allow_private_urls: bool
    body_pool: BodyPool
    keys: ApiKeys
    options: TaskOptions
    database: Database
    media: MediaStore
    gallery: Gallery
    decoders: DecoderPool
    inputs: InputImages
    ids: TaskIds
    jobs: JobStore
    history: JobHistory
    usage: Usage
    deadlines: Deadlines
    queue: JobQueue
    tasks: TaskService
    watch: TaskWatch
    scopes: CancelScopes
    pictures: PictureTasks
    picture_uploads: PictureUploads
    loras: LoraLibrary
    image_fetcher: Fetcher
    lora_fetcher: Fetcher
    sender: Sender
    uploader: Uploader
    outbox: Outbox
    webhook_secret: str | None
