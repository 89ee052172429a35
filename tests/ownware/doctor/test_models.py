from pathlib import Path
from typing import Any

import pytest

from ownware.doctor import models as checks
from ownware.doctor.finding import Finding
from ownware.doctor.models import check_devices_and_models
from pipelines.models.planning.cards import GIB, find_card
from server.machine import capacity
from server.machine.devices import TorchBuild
from server.settings import Settings


def check(folder: Path, **changes: Any) -> list[Finding]:
    return list(check_devices_and_models(Settings(**{"data_dir": folder, "devices": ("cpu",)} | changes)))


def found(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def test_the_embedded_models_on_a_cpu(tmp_path: Path) -> None:
    findings = check(tmp_path)
    assert {finding.state for finding in findings} == {"ok"}
    assert found(findings, "devices").text.startswith("cpu; torch ")
    assert found(findings, "model").text.startswith("runware:108@1: transformer ")
    assert "embedded" in found(findings, "plan").text


def test_a_device_that_is_not_here(tmp_path: Path) -> None:
    (finding,) = check(tmp_path, devices=("tpu",))
    assert (finding.state, finding.subject) == ("stops", "devices")
    assert "'tpu' is no device" in finding.text


def test_a_models_file_that_is_not_there(tmp_path: Path) -> None:
    _, finding = check(tmp_path, models=tmp_path / "no.toml")
    assert (finding.state, finding.subject) == ("stops", "models")
    assert "no.toml" in finding.text


def test_a_profile_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "embedded.toml").write_text("format = 1\n")
    finding = found(check(tmp_path, profile_dir=tmp_path), "profiles")
    assert (finding.state, "embedded.toml" in finding.text) == ("stops", True)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a card of 24 GiB, 64 GiB of host memory, and nothing downloaded."""
    card = find_card("RTX 4090")
    monkeypatch.setattr(checks, "find_devices", lambda wanted: ("cuda:0",))
    for module in (capacity, checks):
        monkeypatch.setattr(module, "find_cards", lambda: (card,))
    monkeypatch.setattr(capacity, "free_host_memory", lambda: 64 * GIB)
    monkeypatch.setattr(capacity, "_free_disk_bytes", lambda folder: 10**15)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/nowhere")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("offline", "states"), [("0", {"note"}), ("1", {"stops", "note"})])
def test_weights_that_are_not_here_are_downloaded_if_there_is_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: str, states: set[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    findings = check(tmp_path, weights="catalog")
    models = [finding for finding in findings if finding.subject == "model"]
    assert {finding.state for finding in models if "embedded" not in finding.text} == states
    assert "Qwen/Qwen-Image" in models[0].text
    assert found(findings, "devices").text.startswith("cuda:0 (RTX 4090); ")
    plan = found(findings, "plan")
    assert (plan.state, "RTX 4090" in plan.text) == ("ok", True)


@pytest.mark.usefixtures("gpu")
def test_a_card_that_is_too_small_stops_the_server(tmp_path: Path) -> None:
    finding = found(check(tmp_path, weights="catalog", vram=4), "plan")
    assert (finding.state, "are too few" in finding.text) == ("stops", True)


@pytest.mark.usefixtures("gpu")
def test_a_card_that_torch_cannot_use_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_devices", lambda wanted: ("cpu",))
    finding = found(check(tmp_path, weights="embedded"), "devices")
    assert (finding.state, finding.text) == ("note", f"cpu: RTX 4090 is not used; torch is {TorchBuild.find().version}")
