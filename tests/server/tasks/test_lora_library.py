from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import Adapter
from server.database import Database
from server.tasks.lora_library import InstalledLora, LoraLibrary, LoraNameTaken
from tests.server.tasks.common import CATALOG

NET = Adapter("ownware:union@1", "Union", "/nets/union")
OWN = replace(CATALOG, loras=(Adapter("hub:1@1", "Lightning", "owner/lightning"),), controlnets=(NET,))


def lora(folder: Path, air: str = "me:ink@1", **changes: object) -> InstalledLora:
    return replace(InstalledLora(air, "Ink", str(folder / "ink.safetensors"), owner="me"), **changes)


@pytest.fixture
async def library(database: Database, tmp_path: Path) -> LoraLibrary:
    library = LoraLibrary(OWN, database, tmp_path, None)
    await library.open()
    return library


async def test_what_is_installed_is_there_after_a_restart_also_in_another_folder(
    library: LoraLibrary, database: Database, tmp_path: Path
) -> None:
    ink = lora(library.folder, slugs=("ink",), tags=("a", "b"), private=False, weight=0.5)
    await library.install(ink)
    moved = LoraLibrary(OWN, database, tmp_path / "moved", None)
    await moved.open()
    assert moved.catalog("you").find_lora("INK") == lora(
        moved.folder, slugs=("ink",), tags=("a", "b"), private=False, weight=0.5
    )
    assert moved.has(ink)


async def test_a_private_one_is_its_owners_only(library: LoraLibrary) -> None:
    ink = lora(library.folder)
    await library.install(ink)
    assert library.catalog("me").find_lora(ink.air) == ink
    assert library.catalog("you").find_lora(ink.air) is None
    assert not library.has(replace(ink, owner="you"))


@pytest.mark.parametrize("taken", ["me:INK@1", "qwen-image", "hub:1@1", NET.air])
async def test_a_name_means_one_thing(library: LoraLibrary, taken: str) -> None:
    await library.install(lora(library.folder))
    with pytest.raises(LoraNameTaken, match=f"A model is called '{taken}' already") as refused:
        library.check_names(("you:free@1", taken))
    assert refused.value.position == 1
    with pytest.raises(LoraNameTaken):
        await library.install(lora(library.folder, taken))


async def test_one_that_cannot_be_recorded_is_not_there(library: LoraLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Database, "run", full)
    with pytest.raises(OSError, match="full"):
        await library.install(lora(library.folder))
    assert library.catalog("me").find_lora("me:ink@1") is None


async def test_files_of_the_local_folder_are_found_by_name(database: Database, tmp_path: Path) -> None:
    local = tmp_path / "local"
    library = LoraLibrary(OWN, database, tmp_path, local)
    assert library.catalog("me").find_lora("pixel art") is None
    local.mkdir()
    for name in ("Pixel Art.safetensors", "notes.txt"):
        (local / name).touch()
    found = library.catalog("me").find_lora("pixel art")
    assert found is not None
    assert found.weights == str(local / "Pixel Art.safetensors")
    assert library.catalog("me").find_lora("notes") is None
