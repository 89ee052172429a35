from pathlib import Path

import pytest
from PIL import Image

from pipelines.request import Reference


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    path = tmp_path / "reference.png"
    Image.radial_gradient("L").resize((60, 40)).convert("RGB").save(path)
    return Reference(path, "", 60, 40)


@pytest.fixture
def other_reference(tmp_path: Path) -> Reference:
    path = tmp_path / "other.png"
    Image.new("RGB", (60, 40), (20, 180, 90)).save(path)
    return Reference(path, "", 60, 40)
