from pathlib import Path

import pytest

from pipelines.models.planning import host_memory
from pipelines.models.planning.host_memory import free_host_memory


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A system with 8000 kB available, and no container."""
    for name in ("_MEMINFO", "_CGROUP_LIMIT", "_CGROUP_USED", "_CGROUP_STAT"):
        monkeypatch.setattr(host_memory, name, tmp_path / name)
    (tmp_path / "_MEMINFO").write_text("MemTotal: 16000 kB\nMemAvailable:    8000 kB\n")
    return tmp_path


def test_what_the_system_has(files: Path) -> None:
    assert free_host_memory() == 8000 * 1024
    (files / "_CGROUP_LIMIT").write_text("max\n")
    assert free_host_memory() == 8000 * 1024


def test_a_container_has_less_and_its_cached_files_count_as_free(files: Path) -> None:
    (files / "_CGROUP_LIMIT").write_text("4000\n")
    assert free_host_memory() == 4000
    (files / "_CGROUP_USED").write_text("3000\n")
    assert free_host_memory() == 1000
    (files / "_CGROUP_STAT").write_text("anon 9\ninactive_file 500\n")
    assert free_host_memory() == 1500
    (files / "_CGROUP_USED").write_text("9000\n")
    assert free_host_memory() == 0


def test_another_system_has_what_is_installed(files: Path) -> None:
    (files / "_MEMINFO").unlink()
    assert free_host_memory() > 2**20
