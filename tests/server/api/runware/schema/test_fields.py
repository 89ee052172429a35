from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from server.api.runware.schema import fields


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (fields.Integer, [0, -3], [True, 1.0, "1", None]),
        (fields.Number, [0, 0.5], [True, "1", float("nan"), float("inf")]),
        (fields.Unit, [0, 1, 0.25], [-0.01, 1.01, 0.255]),
        (fields.Size, [128, 2048, 1008], [112, 2064, 130]),
        (fields.Steps, [1, 50], [0, 51]),
        (fields.Seed, [0, 2**63 - 1], [-1, 2**63]),
        (fields.Weight, [-4, 4, 0], [-4.01, 4.01]),
        (
            fields.TaskUUID,
            ["7B1F6F0E-2c3b-4a55-9d43-0a4a0f3e7b10"],
            ["", "7b1f6f0e", "7b1f6f0e2c3b4a559d430a4a0f3e7b10"],
        ),
        (fields.AnyTaskId, ["7", "sync-1-u1", "task-unified-1-ab"], ["", "a b", "a/b", "é", "a" * 129]),
        (fields.WebAddress, ["https://box.example/x"], ["ftp://box/x", "https://", "http://box:99999/x"]),
        (fields.SchedulerName, ["Euler"], ["Eulr", ""]),
        (fields.PreprocessorName, ["canny", "depth"], ["pencil"]),
        (fields.OutputQuality, [20, 99], [19, 100]),
        (fields.Lifetime, [60], [59, fields.MAX_TTL + 1]),
    ],
)
def test_ranges(kind: Any, good: list[Any], bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    for value in good:
        assert adapter.validate_python(value) == value
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


@pytest.mark.parametrize(("sent", "meant"), [("jpg", "JPG"), ("jpeg", "JPG"), ("JPEG", "JPG"), ("webp", "WEBP")])
def test_a_format_is_read_in_any_spelling(sent: str, meant: str) -> None:
    assert TypeAdapter(fields.OutputFormat).validate_python(sent) == meant
