from pathlib import Path

import pytest

from pipelines.catalog.hub.download import fetch_folder
from pipelines.catalog.hub.errors import HubError
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.sample import FILES, FIRST, NAME


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_mirror_that_tells_names_only(hub: FakeHub) -> None:
    hub.sizes = False
    assert contents(fetch_folder(NAME))[FIRST] == FILES[FIRST]
    assert hub.count("HEAD") == len(FILES)


@pytest.mark.parametrize("name", ["transformer/../../../x.json", "/etc/x.json"])
def test_a_name_that_leads_out_of_the_folder(hub: FakeHub, name: str) -> None:
    hub.repositories[NAME][name] = b"{}"
    with pytest.raises(HubError, match="no usable name, size and checksum"):
        fetch_folder(NAME)
