from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import BUILT_IN
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.catalog.sources import sources
from pipelines.models.planning.cards import GIB, find_card
from server import served_models
from server.machine import capacity
from server.served_models import choose_catalog
from server.settings import Settings


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """The hub names whose weights are on this machine, which has one card of 80 GiB and room for anything."""
    names: set[str] = set()
    served_models._without_download.cache_clear()
    monkeypatch.setattr(
        served_models,
        "missing_sources",
        lambda row: tuple(source for source in sources(row) if source.name not in names),
    )
    monkeypatch.setattr(capacity, "local_folder", lambda weights, _=(): tmp_path if weights in names else None)
    monkeypatch.setattr(capacity, "find_cards", lambda: (find_card("H100"),))
    monkeypatch.setattr(capacity, "free_host_memory", lambda: 128 * GIB)
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 10**15)
    return names


@pytest.mark.parametrize(
    ("options", "devices", "embedded"),
    [
        ({}, ("cpu",), True),
        ({"models": BUILT_IN}, ("cpu",), False),
        ({"models": BUILT_IN}, ("cuda:0",), False),
        ({"weights": "embedded"}, ("cuda:0",), True),
        ({"weights": "embedded", "models": BUILT_IN}, ("cpu",), True),
        ({"weights": "catalog"}, ("cpu",), False),
        ({"weights": "catalog"}, ("cuda:0",), False),
    ],
)
def test_the_embedded_checkpoint_is_for_machines_without_a_gpu_unless_the_settings_say_so(
    options: dict[str, Any], devices: tuple[str, ...], embedded: bool, tmp_path: Path
) -> None:
    catalog = choose_catalog(Settings(data_dir=tmp_path, **options), devices)
    assert {entry.embedded for entry in catalog.entries} == {embedded}
    assert len(catalog.entries) == len(load_catalog().entries)


@pytest.mark.parametrize("weights", ["catalog", "embedded"])
def test_a_missing_file_of_the_models_file_is_told_at_once(weights: Any, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    lora = '\n[[loras]]\nair = "a:1@1"\nname = "a"\nweights = "loras/ink.safetensors"\n'
    models.write_text(BUILT_IN.read_text() + lora)
    with pytest.raises(CatalogError, match="loras: a:1@1: weights: there is no file"):
        choose_catalog(Settings(data_dir=tmp_path, models=models, weights=weights), ("cpu",))


def test_a_gpu_serves_a_model_with_a_lora_only_when_the_lora_is_here(here: set[str], tmp_path: Path) -> None:
    here |= {"Qwen/Qwen-Image"}
    settings = Settings(data_dir=tmp_path)
    assert [entry.air for entry in choose_catalog(settings, ("cuda:0",)).entries] == ["runware:108@1"]
    here |= {"lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V2.0.safetensors"}
    served_models._without_download.cache_clear()
    both = [entry.air for entry in choose_catalog(settings, ("cuda:0",)).entries]
    assert both == ["runware:108@1", "ownware:qwen-image-lightning@8"]


@pytest.mark.parametrize("devices", [("cuda:0",), ("cpu", "cuda:0")])
def test_a_gpu_serves_the_weights_that_are_here(here: set[str], devices: tuple[str, ...], tmp_path: Path) -> None:
    here |= {"Qwen/Qwen-Image-Edit"}
    catalog = choose_catalog(Settings(data_dir=tmp_path), devices)
    assert [entry.weights for entry in catalog.entries] == ["Qwen/Qwen-Image-Edit"]


@pytest.mark.usefixtures("here")
def test_nothing_is_downloaded_unasked(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        choose_catalog(Settings(data_dir=tmp_path), ("cuda:0",))
    told = str(caught.value)
    assert told.startswith("Qwen/Qwen-Image takes 58 GB of download, 50 GiB of GPU memory, 13 GiB of host memory, and ")
    assert "--weights catalog downloads and loads it all the same; --weights embedded" in told


@pytest.mark.usefixtures("here")
def test_without_a_card_that_can_be_told_nothing_is_downloaded_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(capacity, "find_cards", tuple[Any, ...])
    with pytest.raises(CatalogError, match=r"^Qwen/Qwen-Image is not here\. --weights catalog downloads"):
        choose_catalog(Settings(data_dir=tmp_path), ("cuda:0",))


def test_nothing_that_does_not_fit_is_loaded(here: set[str], tmp_path: Path) -> None:
    here |= {"Qwen/Qwen-Image"}
    with pytest.raises(CatalogError, match=r"^Qwen/Qwen-Image: 4\.0 GiB of GPU memory are too few for 1328×1328"):
        choose_catalog(Settings(data_dir=tmp_path, vram=4), ("cuda:0",))


def test_a_full_disk_is_told(here: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 8 * GIB)
    monkeypatch.setattr(capacity, "hub_cache", lambda: tmp_path)
    with pytest.raises(CatalogError, match=r"but the disk of .* has 8 GiB\. --weights catalog downloads and loads it"):
        choose_catalog(Settings(data_dir=tmp_path), ("cuda:0",))
