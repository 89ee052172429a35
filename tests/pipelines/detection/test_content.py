import pytest
from nudenet import nudenet
from PIL import Image

from pipelines.detection import content
from pipelines.detection.content import THRESHOLDS, is_unsafe
from pipelines.detection.detector import Detection

PICTURE = Image.new("RGB", (8, 8))


def found(monkeypatch: pytest.MonkeyPatch, label: str, score: float) -> bool:
    monkeypatch.setattr(content, "detect", lambda _: (Detection(label, score, (0, 0, 1, 1)),))
    return is_unsafe(PICTURE)


def test_each_label_is_one_of_the_network() -> None:
    assert THRESHOLDS.keys() < set(nudenet.__labels)


@pytest.mark.parametrize("label", THRESHOLDS)
def test_a_label_counts_from_its_threshold_on(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    assert found(monkeypatch, label, THRESHOLDS[label])
    assert not found(monkeypatch, label, THRESHOLDS[label] - 0.01)


@pytest.mark.parametrize("label", sorted(set(nudenet.__labels) - THRESHOLDS.keys()))
def test_no_other_label_counts(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    assert not found(monkeypatch, label, 1.0)


def test_a_flat_picture_is_safe() -> None:
    assert not is_unsafe(Image.new("RGB", (64, 64), "white"))
