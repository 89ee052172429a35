from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import FakeHub, serve_hub, use_hub
from tests.pipelines.catalog.hub.sample import FILES, NAME


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the sample repository, and an empty cache."""
    with serve_hub({NAME: dict(FILES)}) as served:
        use_hub(monkeypatch, served.url, tmp_path / "hub")
        yield served
