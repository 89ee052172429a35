from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.planning.cards import CPU, GIB, Card, find_card
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wishes
from server.machine import capacity
from server.machine.capacity import Capacity, plan_capacity

ENTRY = load_catalog().entries[0]
TINY = load_catalog().with_embedded_weights().entries[0]
GPUS = ("cuda:0", "cuda:1")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two cards of 48 and 24 GiB, 128 GiB of host memory, a large disk, and no weights but the embedded ones."""
    cards = tuple(card for name in ("L40S", "RTX 4090") if (card := find_card(name)))
    real = capacity.local_folder
    monkeypatch.setattr(
        capacity, "local_folder", lambda weights, _=(): real(weights) if weights == "embedded" else None
    )
    monkeypatch.setattr(capacity, "find_cards", lambda: cards)
    monkeypatch.setattr(capacity, "free_host_memory", lambda: 128 * GIB)
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 10**15)


def planned(entry: ModelEntry, devices: tuple[str, ...], options: PlanOptions | None = None) -> Capacity:
    found = plan_capacity(entry, devices, options or PlanOptions())
    assert found is not None
    return found


def test_the_smallest_card_and_a_share_of_the_host_count() -> None:
    found = planned(ENTRY, GPUS)
    assert (found.card.name, found.host.memory) == ("RTX 4090", 64 * GIB)
    assert found.problem is None
    assert str(found) == "Qwen/Qwen-Image takes 58 GB of download, 24 GiB of GPU memory, 36 GiB of host memory"


def test_the_plan_is_told_line_by_line() -> None:
    first, *lines = planned(ENTRY, GPUS).lines()
    assert first.startswith("Qwen-Image (runware:108@1) on RTX 4090 (24.0 GiB) with 64.0 GiB of host memory")
    assert any("streamed a step" in line for line in lines)


def test_wishes_and_memory_are_those_of_the_user() -> None:
    found = planned(ENTRY, GPUS, PlanOptions(vram=12 * GIB, host_memory=90 * GIB, wishes=Wishes("fp8")))
    assert found.plan is not None
    assert found.plan.transformer.precision == "fp8"
    assert (found.card.memory, found.host.memory) == (12 * GIB, 45 * GIB)


def test_a_card_that_is_too_small_is_refused() -> None:
    found = planned(ENTRY, GPUS, PlanOptions(vram=4 * GIB))
    assert found.plan is None
    assert found.problem is not None
    assert found.problem.startswith("Qwen/Qwen-Image: 4.0 GiB of GPU memory are too few for 1328×1328")
    assert found.lines() == ()


def test_a_cpu_is_told_what_the_host_lacks() -> None:
    found = planned(ENTRY, ("cpu",))
    assert found.card == CPU
    assert found.problem is None
    short = planned(ENTRY, ("cpu",), PlanOptions(host_memory=8 * GIB))
    assert short.problem == ("Qwen/Qwen-Image takes 58 GB of download, 105 GiB of host memory, but the host has 8 GiB")
    assert short.refusal is None
    assert short.lines()[0].startswith("Qwen-Image (runware:108@1) on the CPU with 8.0 GiB of host memory")


def test_the_disk_counts_where_something_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 3 * GIB)
    monkeypatch.setattr(capacity, "hub_cache", lambda: tmp_path)
    problem = planned(ENTRY, GPUS).problem
    assert problem is not None
    assert problem.endswith(f"but the disk of {tmp_path} has 3 GiB")
    assert planned(TINY, GPUS).problem is None


def test_the_disk_of_a_folder_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    assert capacity._free_disk_bytes(tmp_path / "not" / "yet") > 0


def test_cards_that_cannot_be_told_are_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "find_cards", tuple[Card, ...])
    assert plan_capacity(ENTRY, GPUS, PlanOptions()) is None
    assert planned(replace(ENTRY, weights="embedded"), ("cpu",)).problem is None
