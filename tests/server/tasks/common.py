"""A plain task, for tests of what becomes of it."""

from pathlib import Path

from pipelines.catalog.models_file import load_catalog
from pipelines.request import Sampler
from server.media.encode import Encoding
from server.media.store import Media
from server.tasks.spec import TaskSpec

CATALOG = load_catalog().with_embedded_weights()
ENTRY, EDIT = CATALOG.entries[:2]
PHOTO = Media("u", "input", "", Path("a.png"), "image/png", 1920, 1080, "hash", 0.0, None)
SPEC = TaskSpec(
    owner="me",
    dialect="small",
    task_id="83e5a68e-074f-4bea-8e26-a6723ae9b2da",
    task={"taskType": "imageInference", "taskUUID": "83e5a68e-074f-4bea-8e26-a6723ae9b2da"},
    wait=True,
    model=ENTRY,
    prompt="a",
    negative_prompt=None,
    steps=20,
    sampler=Sampler(),
    true_cfg_scale=4.0,
    encoding=Encoding("PNG", 95),
    width=512,
    height=256,
)
