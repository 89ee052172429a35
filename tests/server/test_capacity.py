from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED
from server import capacity
from server.capacity import GB, GIB, Need, shortages


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Weights of 3, 2 and 1 bytes."""
    for part, size in (("transformer", 3), ("text_encoder", 2), ("vae", 1)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "model.safetensors").write_bytes(b"0" * size)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("devices", "card", "host"),
    [(("cuda:0",), 6, 3), (("cuda:0", "cuda:1"), 6, 6), (("cpu",), 0, 12), (("cuda:0", "cpu"), 6, 15)],
)
def test_weights_of_this_machine_are_measured(folder: str, devices: tuple[str, ...], card: int, host: int) -> None:
    assert Need.of(folder, devices) == Need(folder, 0, card, host)


def test_weights_of_the_hub_are_as_large_as_those_of_the_20b_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "local_folder", lambda weights: None)
    need = Need.of("owner/repository", ("cuda:0",))
    assert str(need) == ("owner/repository takes 58 GB of download, 54 GiB of GPU memory, 38 GiB of host memory")


def test_the_embedded_checkpoint_fits_everywhere() -> None:
    need = Need.of(EMBEDDED, ("cpu",))
    assert need.download == need.card == 0
    assert 0 < need.host < GB
    assert shortages(need) == ()


def test_each_shortage_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(capacity, "_CGROUP_LIMIT", limit)
    monkeypatch.setattr(capacity, "card_bytes", lambda: (80 * GIB, 24 * GIB))
    monkeypatch.setattr(capacity, "hub_cache", lambda: tmp_path / "not" / "yet")
    limit.write_text(f"{8 * GIB}\n")
    gpu, host, disk = shortages(Need("a", 10**18, 54 * GIB, 38 * GIB))
    assert (gpu, host) == ("the GPU has 24 GiB", "the host has 8 GiB")
    assert disk.startswith(f"the disk of {tmp_path / 'not' / 'yet'} has ")
    limit.write_text("max\n")
    assert shortages(Need("a", 0, 10 * GIB, 1)) == ()


def test_a_gpu_of_unknown_memory_is_not_short_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "card_bytes", lambda: ())
    assert shortages(Need("a", 0, 10**18, 1)) == ()
