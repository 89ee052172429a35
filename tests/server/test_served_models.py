from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.catalog import BUILT_IN, CatalogError, load_catalog
from server import capacity, served_models
from server.served_models import choose_catalog, missing_capacity
from server.settings import Settings


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """The hub names whose weights are on this machine, which has room for anything."""
    names: set[str] = set()
    served_models._without_download.cache_clear()
    for module in (served_models, capacity):
        monkeypatch.setattr(module, "local_folder", lambda weights: tmp_path if weights in names else None)
    monkeypatch.setattr(served_models, "shortages", lambda need: ())
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
    assert len(catalog.entries) == 3


@pytest.mark.parametrize("weights", ["catalog", "embedded"])
def test_a_missing_file_of_the_models_file_is_told_at_once(weights: Any, tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    lora = '\n[[loras]]\nair = "a:1@1"\nname = "a"\nweights = "loras/ink.safetensors"\n'
    models.write_text(BUILT_IN.read_text() + lora)
    with pytest.raises(CatalogError, match="loras: a:1@1: weights: there is no file"):
        choose_catalog(Settings(data_dir=tmp_path, models=models, weights=weights), ("cpu",))


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
    assert told.startswith("Qwen/Qwen-Image takes 58 GB of download, 54 GiB of GPU memory, 38 GiB of host memory, and ")
    assert "--weights catalog downloads and loads it all the same; --weights embedded" in told


def test_nothing_that_does_not_fit_is_loaded_unasked(
    here: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here |= {"Qwen/Qwen-Image"}
    monkeypatch.setattr(served_models, "shortages", lambda need: ("the GPU has 24 GiB", "the host has 8 GiB"))
    with pytest.raises(
        CatalogError, match=r"but the GPU has 24 GiB and the host has 8 GiB\. --weights catalog loads it"
    ):
        choose_catalog(Settings(data_dir=tmp_path), ("cuda:0",))


@pytest.mark.usefixtures("here")
def test_what_was_asked_for_and_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = load_catalog()
    assert missing_capacity(catalog, ("cuda:0",)) is None
    monkeypatch.setattr(served_models, "shortages", lambda need: ("the GPU has 24 GiB",))
    missing = missing_capacity(replace(catalog, entries=catalog.entries[1:]), ("cuda:0",))
    assert missing is not None
    assert missing.startswith("Qwen/Qwen-Image-Edit takes ")
    assert missing_capacity(catalog.with_embedded_weights(), ("cuda:0",)) is None
