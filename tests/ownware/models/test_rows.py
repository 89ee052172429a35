from pathlib import Path

import pytest

from ownware.models.rows import UnknownModel, find_row, find_sources, models_file, read_catalog, require_row
from pipelines.catalog.catalog import BUILT_IN
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.sources import Source

CATALOG = load_catalog()


def test_the_models_file_is_that_of_the_option_or_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert models_file(None) is None
    assert read_catalog(None) == CATALOG
    monkeypatch.setenv("OWNWARE_MODELS", str(tmp_path / "mine.toml"))
    assert models_file(None) == tmp_path / "mine.toml"
    assert models_file(BUILT_IN) == BUILT_IN


def test_rows_by_name() -> None:
    assert find_row(CATALOG, "Qwen-Image") is CATALOG.entries[0]
    assert find_row(CATALOG, "qwen") is None
    with pytest.raises(UnknownModel, match=r"^'qwen-image-edt' is not in the models file; the nearest is 'qwen-im"):
        require_row(CATALOG, "qwen-image-edt")


def test_sources_by_name() -> None:
    assert find_sources(CATALOG, "runware:108@1") == (Source("Qwen/Qwen-Image"),)
    assert find_sources(CATALOG, "owner/other") == (Source("owner/other"),)
    assert find_sources(CATALOG, "owner/other/deep/a.gguf") == (Source("owner/other/deep/a.gguf"),)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("runware:108@2", "the nearest is 'runware:108@2"), ("zebra", "`ownware models list` shows all")],
)
def test_an_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(UnknownModel, match=f"^'{name}' is no AIR identifier, slug or hub name; {hint}"):
        find_sources(CATALOG, name)
