from dataclasses import replace
from pathlib import Path

import pytest

from ownware.models.remove import carry_out, plan_removal
from ownware.models.rows import UnknownModel
from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.hub.cache import local_file, local_folder, repository_folder
from pipelines.catalog.hub.download import fetch_file, fetch_folder
from pipelines.catalog.models_file import load_catalog
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.conftest import hub
from tests.pipelines.catalog.hub.sample import NAME

__all__ = ["hub"]
MODEL = replace(load_catalog().entries[0], air="my:1@1", slugs=(), weights=NAME)
FILES = "owner/files"
ONE, TWO = (Adapter(f"lora:{n}@1", str(n), f"{FILES}/{n}.safetensors") for n in (1, 2))


@pytest.fixture
def downloaded(hub: FakeHub) -> Catalog:
    hub.repositories[FILES] = {"1.safetensors": b"1" * 1000, "2.safetensors": b"2" * 2000}
    fetch_folder(NAME)
    fetch_file(Path(ONE.weights))
    fetch_file(Path(TWO.weights))
    return Catalog((MODEL,), (ONE, TWO))


def test_a_repository_that_no_other_row_uses_goes_with_all_its_states(downloaded: Catalog) -> None:
    draft = repository_folder(NAME) / "blobs" / "half.incomplete"
    draft.write_bytes(b"half")
    (removal,) = plan_removal(downloaded, ["my:1@1"])
    assert (removal.repository, removal.whole, removal.kept_for) == (NAME, True, ())
    assert removal.bytes > 6_000_000
    carry_out(removal)
    assert not repository_folder(NAME).exists()
    assert local_file(Path(ONE.weights)).is_file()


def test_what_another_row_uses_is_kept(downloaded: Catalog) -> None:
    twin = replace(MODEL, air="my:2@1")
    catalog = replace(downloaded, entries=(MODEL, twin))
    (removal,) = plan_removal(catalog, ["my:1@1"])
    assert (removal.files, removal.bytes, removal.kept_for) == ((), 0, ("my:2@1",))
    (removal,) = plan_removal(catalog, [NAME])
    assert (removal.files, removal.kept_for) == ((), ("my:1@1", "my:2@1"))
    (removal,) = plan_removal(catalog, ["my:1@1", "my:2@1"])
    assert removal.whole


def test_a_part_that_another_row_replaces_is_deleted(downloaded: Catalog) -> None:
    other = replace(MODEL, air="my:2@1", transformer=f"{FILES}/1.safetensors")
    (removal,) = plan_removal(replace(downloaded, entries=(MODEL, other)), ["my:1@1"])
    assert {path.parent.name for path in removal.files} == {"transformer"}
    carry_out(removal)
    assert local_folder(NAME) is None
    assert local_folder(NAME, ["transformer"]) is not None


def test_one_file_of_a_repository(downloaded: Catalog) -> None:
    (removal,) = plan_removal(downloaded, ["lora:1@1"])
    assert (removal.bytes, removal.whole, removal.kept_for) == (1000, False, ("lora:2@1",))
    carry_out(removal)
    blobs = repository_folder(FILES) / "blobs"
    assert [path.stat().st_size for path in blobs.iterdir()] == [2000]
    with pytest.raises(FileNotFoundError):
        local_file(Path(ONE.weights))
    assert local_file(Path(TWO.weights)).is_file()


def test_what_is_not_of_the_hub_and_unknown_names(downloaded: Catalog, tmp_path: Path) -> None:
    own = replace(MODEL, air="my:3@1", weights=str(tmp_path))
    assert plan_removal(replace(downloaded, entries=(own,)), ["my:3@1"]) == ()
    with pytest.raises(UnknownModel, match="the nearest is 'my:1@1'"):
        plan_removal(downloaded, ["my:11@1"])
