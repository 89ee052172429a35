from typing import Any

import pytest

from server.api.fields.validation import validate
from server.api.wavespeed.schema import Deletion, HistoryQuery, PredictionInput, PriceQuery, UploadTicket
from server.errors import TaskRejected

# As the vendor's page shows it, with the prompt that its table requires.
PUBLISHED = {
    "prompt": "a",
    "seed": -1,
    "output_format": "jpeg",
    "enable_base64_output": False,
    "enable_sync_mode": False,
}


def test_the_published_body() -> None:
    found = validate(PredictionInput, PUBLISHED)
    assert (found.seed, found.output_format, found.enable_sync_mode) == (None, "JPG", False)


@pytest.mark.parametrize(
    ("model", "value", "parameter"),
    [
        (PredictionInput, {}, "prompt"),
        (PredictionInput, {"prompt": ""}, "prompt"),
        (PredictionInput, {"prompt": "a", "enable_sync_mode": 1}, "enable_sync_mode"),
        (PredictionInput, {"prompt": "a", "webhook_url": "box"}, "webhook_url"),
        (PredictionInput, {"prompt": "a", "images": {}}, "images"),
        (UploadTicket, {}, "size"),
        (UploadTicket, {"size": 0}, "size"),
        (UploadTicket, {"size": 1.5}, "size"),
        (HistoryQuery, {"page": 0}, "page"),
        (HistoryQuery, {"page_size": 101}, "page_size"),
        (HistoryQuery, {"created_after": "yesterday"}, "created_after"),
        (HistoryQuery, {"created_after": "2026-01-01T00:00:00"}, "created_after"),
        (Deletion, {"ids": []}, "ids"),
        (Deletion, {"ids": [5]}, "ids[0]"),
        (PriceQuery, {}, "model_id"),
    ],
)
def test_a_wrong_value_is_named(model: Any, value: dict[str, Any], parameter: str) -> None:
    with pytest.raises(TaskRejected) as caught:
        validate(model, value)
    assert caught.value.errors[0].parameter == parameter
