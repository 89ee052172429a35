from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from pipelines.catalog.catalog import EMBEDDED_FOLDER, Adapter, Catalog
from pipelines.catalog.hub.cache import repository_folder
from pipelines.catalog.models_file import load_catalog
from pipelines.catalog.own_lora import OwnLora
from pipelines.catalog.sources import Source, disk_bytes, missing_sources, rows, sources

MODEL = load_catalog().entries[0]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(repository: str, **files: bytes) -> Path:
    """A downloaded repository; of a file's name, _ is a dot."""
    folder = repository_folder(repository)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0" * 40)
    for name, content in files.items():
        (snapshot / name.replace("_", ".")).write_bytes(content)
    return snapshot


def test_names() -> None:
    whole, file = Source("owner/model"), Source("owner/files/deep/a.gguf")
    assert (whole.repository, whole.file) == ("owner/model", None)
    assert (file.repository, file.file) == ("owner/files", "deep/a.gguf")
    for name in ("/some/folder", "embedded", "./here", "~/models"):
        assert (Source(name).repository, Source(name).file) == (None, None)


def test_the_embedded_weights_are_here() -> None:
    entry = load_catalog().with_embedded_weights().entries[0]
    assert missing_sources(entry) == ()
    assert Source("embedded").local() == EMBEDDED_FOLDER
    assert 5e6 < disk_bytes(sources(entry)) < 5e7


def test_a_repository_counts_when_it_is_whole() -> None:
    source = Source("owner/net")
    assert (source.local(), source.present()) == (None, ())
    folder = put("owner/net", config_json=b"{}")
    assert source.local() is None
    assert disk_bytes([source]) == 2
    put("owner/net", model_safetensors=b"1234", README_md=b"text")
    assert source.local() == folder
    assert disk_bytes([source]) == 6


def test_a_file_of_a_repository() -> None:
    source = Source("owner/files/a.gguf")
    assert source.local() is None
    folder = put("owner/files", a_gguf=b"123", b_gguf=b"1")
    assert source.local() == folder / "a.gguf"
    assert disk_bytes([source, Source("owner/files/b.gguf"), source]) == 4


def test_local_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"12345")
    assert disk_bytes([Source(str(tmp_path / "a.safetensors"))]) == 5
    assert Source(str(tmp_path / "gone.safetensors")).local() is None
    assert Source(str(tmp_path)).local() == tmp_path


def test_a_shared_file_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert disk_bytes([Source(str(tmp_path / "a")), Source(str(tmp_path / "b"))]) == 5


def test_all_that_a_model_is_made_of() -> None:
    row = replace(MODEL, weights="o/m", transformer="o/f/q4.gguf", vae="o/v", loras=(OwnLora("o/l/fast.safetensors"),))
    assert sources(row) == (
        Source("o/m", ("transformer", "vae")),
        Source("o/f/q4.gguf"),
        Source("o/v"),
        Source("o/l/fast.safetensors"),
    )
    assert missing_sources(row) == sources(row)
    row = replace(MODEL, weights="o/m", text_encoder="o/f/q4.gguf", text_encoder_mmproj="o/f/mmproj.gguf")
    assert sources(row)[1:] == (Source("o/f/q4.gguf"), Source("o/f/mmproj.gguf"))


def test_rows_of_every_kind() -> None:
    lora, net = Adapter("a", "a", "o/r/f.safetensors"), Adapter("b", "b", "o/n")
    catalog = Catalog((replace(MODEL, weights="o/m"),), (lora,), (net,))
    assert [source.name for row in rows(catalog) for source in sources(row)] == ["o/m", "o/r/f.safetensors", "o/n"]
