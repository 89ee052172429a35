from pathlib import Path

import pytest

from ownware.models.add import add_row, path_in_row
from pipelines.catalog.models_file import CatalogError, load_catalog

ROW = {
    "air": "my:1@1",
    "name": 'Mine "é"',
    "slugs": ("mine", "my-model"),
    "weights": "embedded",
    "version": "1.0",
    "architecture": "qwen_image",
    "mode": "text_to_image",
    "steps": 4,
    "true_cfg_scale": 2.5,
}
LORA = {"air": "my:2@1", "name": "Ink", "weights": "owner/style/ink.safetensors"}


def test_a_file_is_made_and_then_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    add_row(path, "models", ROW)
    first = path.read_text() + "# mine, keep\n"
    path.write_text(first)
    path.chmod(0o640)
    add_row(path, "loras", LORA)
    assert path.read_text().startswith(first.rstrip())
    assert path.stat().st_mode & 0o777 == 0o640
    catalog = load_catalog(path)
    (entry,) = catalog.entries
    assert (entry.air, entry.name, entry.slugs) == ("my:1@1", 'Mine "é"', ("mine", "my-model"))
    assert (entry.steps, entry.true_cfg_scale, entry.embedded) == (4, 2.5, True)
    assert catalog.loras[0].weights == "owner/style/ink.safetensors"
    assert [each.name for each in tmp_path.iterdir()] == ["models.toml"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"air": "my:1@1", "slugs": ()}, "named more than once: my:1@1"),
        ({"air": "my:3@1", "slugs": (), "weights": "./nowhere"}, "there is no folder"),
        ({"air": "my:3@1", "slugs": (), "steps": 99}, "models.1.steps of my:3@1"),
    ],
)
def test_a_wrong_row_leaves_the_file_as_it_is(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    path = tmp_path / "models.toml"
    add_row(path, "models", ROW)
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=said) as caught:
        add_row(path, "models", ROW | changes)  # pyright: ignore[reportArgumentType]
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["models.toml"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        add_row(tmp_path / "nowhere" / "models.toml", "models", ROW)


def test_a_path_of_the_shell_counts_from_the_models_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc" / "weights").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "etc" / "models.toml"
    assert path_in_row("etc/weights", file) == "weights"
    assert path_in_row("./other", file) == str(tmp_path / "other")
    assert path_in_row("owner/name", file) == "owner/name"
