from pathlib import Path

import pytest
import torch

from pipelines.catalog.component_files import ComponentFiles
from pipelines.errors import LoadError
from pipelines.models.formats.components import text_encoder, transformer, vae
from pipelines.models.formats.containers.weight_files import WeightFiles, open_weights
from pipelines.models.loading.loader import load
from pipelines.models.loading.opened_files import model_folder, naming_part, open_files


def test_each_component_is_opened_once_for_a_model(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def count(path: Path) -> WeightFiles:
        opened.append(path.name)
        return open_weights(path)

    for component in (transformer, text_encoder, vae):
        monkeypatch.setattr(component, "open_weights", count)
    loaded = load(str(weights), torch.device("cpu"), torch.float32, with_vision=False)
    assert sorted(opened) == ["text_encoder", "transformer", "vae"]
    assert dict(loaded.formats) == dict(open_files(ComponentFiles(str(weights))).formats)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no such folder"):
        model_folder(ComponentFiles(str(tmp_path / "none")))
    assert model_folder(ComponentFiles(str(tmp_path))) == tmp_path


def test_an_error_names_its_part() -> None:
    said = "^Weights 'a': vae cannot be loaded: no config"
    with pytest.raises(LoadError, match=said) as caught, naming_part("a", "vae"):
        raise ValueError("no config")
    with pytest.raises(LoadError) as again, naming_part("b", "transformer"):
        raise caught.value
    assert again.value is caught.value
