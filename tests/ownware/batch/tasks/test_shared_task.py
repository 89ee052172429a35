import json
from pathlib import Path
from typing import Any

import pytest

from ownware.batch.item import BatchError, ItemError
from ownware.batch.tasks.shared_task import read_shared_task
from tests.ownware.batch.tasks.test_flag_options import NOTHING


def test_the_later_part_counts(tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"positivePrompt": "file", "seed": 1, "steps": 1, "width": 128, "height": 128}))
    repeated = {"positivePrompt": "receipt", "seed": 2, "steps": 2, "width": 256}
    flags: dict[str, Any] = {**NOTHING, "seed": 3, "steps": 3}
    wanted = {"positivePrompt": "prompt", "seed": 3, "steps": 3, "width": 256, "height": 128}
    assert read_shared_task(file, flags, "prompt", repeated) == wanted
    assert read_shared_task(None, NOTHING, None) == {}


@pytest.mark.parametrize(
    ("field", "value", "error"), [("output_format", "gif", ItemError), ("outpaint", "x", BatchError)]
)
def test_what_cannot_be_used(field: str, value: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_shared_task(None, {**NOTHING, field: value}, None)
