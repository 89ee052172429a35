from pathlib import Path

import huggingface_hub.constants
import pytest

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.hub.cache import is_repository, local_file, local_folder, local_path, snapshot_folder, split_file


@pytest.fixture(autouse=True)
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_snapshot(hub_cache: Path, name: str) -> Path:
    """A downloaded repository owner/style with one file."""
    repository = hub_cache / "models--owner--style"
    snapshot = repository / "snapshots" / ("0" * 40)
    (snapshot / name).parent.mkdir(parents=True)
    (snapshot / name).write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    return snapshot


class TestFolder:
    def test_the_embedded_weights(self) -> None:
        assert local_folder(EMBEDDED) == EMBEDDED_FOLDER

    def test_a_folder_is_itself(self, tmp_path: Path) -> None:
        assert local_folder(str(tmp_path)) == tmp_path

    def test_a_hub_name_is_its_local_copy(self, hub_cache: Path) -> None:
        snapshot = put_snapshot(hub_cache, "model.safetensors")
        (snapshot / "config.json").write_text("{}")
        assert local_folder("owner/style") == snapshot

    def test_a_part_of_a_copy_is_none(self, hub_cache: Path) -> None:
        snapshot = put_snapshot(hub_cache, "config.json")
        assert snapshot_folder("owner/style") == snapshot
        assert local_folder("owner/style") is None

    @pytest.mark.parametrize("weights", ["owner/other", "/no/such/folder", "not a name!"])
    def test_none_without_a_local_copy(self, weights: str) -> None:
        assert local_folder(weights) is None


def test_a_folder_or_a_file(hub_cache: Path, tmp_path: Path) -> None:
    snapshot = put_snapshot(hub_cache, "style.safetensors")
    file = snapshot / "style.safetensors"
    assert local_path(EMBEDDED) == EMBEDDED_FOLDER
    assert local_path(str(tmp_path)) == tmp_path
    assert local_path(str(file)) == local_path("owner/style/style.safetensors") == file
    for name in (str(tmp_path / "gone"), "owner/style/gone.safetensors", "owner/style", "not a name!"):
        assert local_path(name) is None


class TestFile:
    def test_an_absolute_path_is_itself_whether_or_not_it_exists(self, tmp_path: Path) -> None:
        assert local_file(tmp_path / "gone") == tmp_path / "gone"

    @pytest.mark.parametrize("name", ["style.safetensors", "deep/style.safetensors"])
    def test_a_hub_name_is_its_local_copy(self, hub_cache: Path, name: str) -> None:
        snapshot = put_snapshot(hub_cache, name)
        assert local_file(Path("owner/style") / name) == snapshot / name

    def test_an_older_state_that_has_it(self, hub_cache: Path) -> None:
        snapshot = put_snapshot(hub_cache, "style.safetensors")
        (snapshot.parents[1] / "refs" / "main").write_text("1" * 40)
        (snapshot.parent / ("1" * 40)).mkdir()
        assert local_file(Path("owner/style/style.safetensors")) == snapshot / "style.safetensors"

    def test_a_file_without_a_local_copy(self) -> None:
        with pytest.raises(OSError, match="is not in the hub's cache"):
            local_file(Path("owner/other/style.safetensors"))

    @pytest.mark.parametrize("name", ["style.safetensors", "owner/style.safetensors"])
    def test_a_path_that_is_no_hub_name(self, name: str) -> None:
        with pytest.raises(ValueError, match="neither a file nor a file of a hub repository"):
            local_file(Path(name))


@pytest.mark.parametrize("name", ["Qwen/Qwen-Image", "a/b", "city96/Qwen-Image-gguf"])
def test_names_of_repositories(name: str) -> None:
    assert is_repository(name)
    assert split_file(f"{name}/deep/file.gguf") == (name, "deep/file.gguf")


@pytest.mark.parametrize("name", ["./nowhere", "../a", "a", "/a/b", "a/b/c", "~/models", "a/..", ""])
def test_what_is_no_name_of_a_repository(name: str) -> None:
    assert not is_repository(name)
    assert split_file(name) in (None, ("a/b", "c"))
