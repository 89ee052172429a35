from pathlib import Path

import pytest

from tests.fakes import picture


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture in a file, which a client uploads or sends."""
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    return path
