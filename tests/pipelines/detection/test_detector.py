import numpy as np
import pytest
from PIL import Image

from pipelines.detection import detector as module
from pipelines.detection.detector import Detection, detect


def test_what_the_network_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Fake:
        def detect(self, image: np.ndarray) -> list[dict[str, object]]:
            seen.append(image)
            return [{"class": "FACE_MALE", "score": np.float32(0.5), "box": [1, 2, 3, 4]}]

    monkeypatch.setattr(module, "_detector", Fake)
    assert detect(Image.new("RGB", (4, 2), (1, 2, 3))) == (Detection("FACE_MALE", 0.5, (1, 2, 3, 4)),)
    assert seen[0].shape == (2, 4, 3)
    assert seen[0][0, 0].tolist() == [3, 2, 1]  # BGR


def test_the_real_one_is_loaded_once_and_finds_nothing_in_a_flat_picture() -> None:
    assert detect(Image.new("RGB", (64, 64), "white")) == ()
    assert module._detector() is module._detector()
