import shutil
from pathlib import Path

import huggingface_hub
import pytest

from pipelines.catalog.hub import download as module
from pipelines.catalog.hub.cache import local_file, local_folder
from pipelines.catalog.hub.download import download, fetch_file, fetch_folder, model_of
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.hub.repository import list_repository
from tests.hub import FakeHub
from tests.pipelines.catalog.hub.sample import FILES, FIRST, NAME, SECOND


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_model_is_downloaded_once_and_then_the_hub_is_not_asked(hub: FakeHub) -> None:
    folder = fetch_folder(NAME)
    left_out = {"README.md", "vae/diffusion_pytorch_model.fp16.safetensors"}
    assert contents(folder) == {name: content for name, content in FILES.items() if name not in left_out}
    assert (folder / FIRST).is_symlink()
    asked = len(hub.requests)
    hub.status = 503
    assert fetch_folder(NAME) == folder == local_folder(NAME)
    assert len(hub.requests) == asked


def test_the_library_finds_the_files(hub: FakeHub) -> None:
    folder = fetch_folder(NAME)
    assert huggingface_hub.try_to_load_from_cache(NAME, FIRST) == str(folder / FIRST)


def test_a_part_of_a_snapshot_is_no_model(hub: FakeHub) -> None:
    folder = fetch_folder(NAME)
    (folder / SECOND).resolve().unlink()
    assert local_folder(NAME) is None
    hub.requests.clear()
    assert fetch_folder(NAME) == folder
    assert [request.split("/")[-1] for request in hub.requests if "resolve" in request] == [
        f"{SECOND.split('/')[1]} bytes=0-"
    ]


def test_weights_from_elsewhere_are_not_downloaded(hub: FakeHub) -> None:
    folder = fetch_folder(NAME, without=["transformer"])
    assert not (folder / FIRST).exists()
    assert (folder / "transformer" / "config.json").exists()
    assert local_folder(NAME, without=["transformer"]) == folder
    assert local_folder(NAME) is None


def test_one_file(hub: FakeHub) -> None:
    path = Path(NAME) / "vae/diffusion_pytorch_model.fp16.safetensors"
    assert fetch_file(path).read_bytes() == b"half"
    assert fetch_file(path) == local_file(path)
    assert sum("resolve" in request for request in hub.requests) == 1
    with pytest.raises(
        HubError, match=r"has no file 'vae/diffusion_pytorch_model.fp8.safetensors'; the nearest is 'vae/d"
    ):
        fetch_file(Path(NAME) / "vae/diffusion_pytorch_model.fp8.safetensors")


def test_an_update_takes_what_changed_and_an_interrupted_one_leaves_the_former_state(hub: FakeHub) -> None:
    former = fetch_folder(NAME)
    hub.commit = "b" * 40
    hub.repositories[NAME][SECOND] = b"new" * 1000
    hub.corrupt = {SECOND}
    repository = list_repository(NAME)
    with pytest.raises(HubError, match="checksum"):
        download(repository, model_of(repository))
    assert local_folder(NAME) == former
    hub.corrupt, hub.requests = set(), []
    folder = download(repository, model_of(repository))
    assert folder != former
    assert local_folder(NAME) == folder
    assert (folder / SECOND).read_bytes() == b"new" * 1000
    assert sum("resolve" in request for request in hub.requests) == 1


def test_one_part_of_a_newer_state_leaves_the_whole_model_in_use(hub: FakeHub) -> None:
    former = fetch_folder(NAME)
    hub.commit = "b" * 40
    hub.repositories[NAME] |= {SECOND: b"new", "vae/config.json": b"{ }"}
    newer = fetch_file(Path(NAME) / "README.md")
    assert newer.parent != former
    assert local_folder(NAME) == former


def test_neither_folder_nor_name(hub: FakeHub) -> None:
    with pytest.raises(HubError, match=r"^there is no folder './nowhere', and it is no name of a hub repository$"):
        fetch_folder("./nowhere")
    assert not hub.requests


def test_no_model(hub: FakeHub) -> None:
    hub.repositories["owner/files"] = {"a.gguf": b"12", "b.gguf": b"123"}
    with pytest.raises(HubError, match=r"holds no model .*: name one of its files, as in owner/files/b\.gguf$"):
        fetch_folder("owner/files")


def test_too_little_space(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(HubError, match=rf"^{NAME} takes 0\.0 GB more, and the disk of .* has 0\.0 GB free: free some"):
        fetch_folder(NAME)
    assert not any("resolve" in request for request in hub.requests)
