import numpy as np
import pytest

from docs.figures.schedulers import FRAME, LABEL, Subject, contact_sheet, describe
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from server.api.runware.schema.schedulers import SAMPLERS


@pytest.fixture
def subject(checkpoint: Checkpoint) -> Subject:
    return Subject(LoadedModel(checkpoint), load_catalog().entries[0], "a red circle", 1, 32)


def test_a_line_says_what_was_drawn(subject: Subject) -> None:
    reference = subject.render(SAMPLERS["Heun"], 3)
    lines = [
        describe(name, subject.render(SAMPLERS[name], 3), reference)
        for name in ("Heun", "Euler", "Euler a", "DPM++ SDE")
    ]
    assert [line["forwards"] for line in lines] == [5, 3, 3, 5]
    assert lines[0]["distance"] == 0.0
    assert lines[1]["distance"] > 0.0
    assert [line["distance"] for line in lines[2:]] == [None, None]
    assert all(line["contrast"] > 0 and line["seconds"] > 0 for line in lines)


def test_counting_leaves_no_hook(subject: Subject) -> None:
    subject.render(SAMPLERS["Default"], 1)
    assert not subject.model.checkpoint.transformer._forward_hooks


def test_the_sheet_shows_each_picture_under_its_name(subject: Subject) -> None:
    picture = subject.render(SAMPLERS["Default"], 1).picture
    sheet = np.asarray(contact_sheet(dict.fromkeys(map(str, range(11)), picture)))
    assert sheet.shape == (2 * (32 + LABEL + FRAME), 10 * (32 + FRAME), 3)
    below = 32 + LABEL + FRAME
    assert np.array_equal(sheet[below + LABEL : below + LABEL + 32, :32], np.asarray(picture))
    assert sheet[:LABEL, :32].min() < 128  # the name
    assert sheet[below:, 32 + FRAME :].min() == 255  # a row is not filled up
