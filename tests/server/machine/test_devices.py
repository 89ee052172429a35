from pathlib import Path

import pytest

from server.machine import devices
from server.machine.devices import DeviceError, TorchBuild, find_cards, find_devices, read_cards

SMI = """#!/bin/sh
case "$1" in
'') echo "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |";;
--list-gpus) echo 'GPU 0: NVIDIA H200 (UUID: a)'; echo 'GPU 1: NVIDIA H200 (UUID: b)';;
*) echo '81559, 80000, 9.0, NVIDIA H200'; echo '24564, [N/A], [N/A], Board, Rev 2'; echo '[N/A], [N/A], 8.9, X'; echo;;
esac
"""


FIND = TorchBuild.find  # the fixture replaces it


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_DRIVERS", ())
    build(monkeypatch, has_gpu_code=True)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def build(monkeypatch: pytest.MonkeyPatch, *, has_gpu_code: bool) -> None:
    monkeypatch.setattr(TorchBuild, "find", lambda: TorchBuild("2.0+x", has_gpu_code))


def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert find_devices(("auto",)) == ("cpu",)


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_every_gpu() -> None:
    assert find_devices(("auto",)) == ("cuda:0", "cuda:1")


@pytest.mark.usefixtures("two_gpus")
def test_auto_is_the_cpu_for_a_torch_that_cannot_use_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    build(monkeypatch, has_gpu_code=False)
    assert find_devices(("auto",)) == ("cpu",)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "count"), [("1", 1), ("0,1", 2), ("", 0), ("-1", 0), ("0,7,1", 1), ("GPU-a, GPU-b", 2)]
)
def test_auto_is_what_the_process_may_see(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len([name for name in find_devices(("auto",)) if name != "cpu"]) == count


@pytest.mark.usefixtures("two_gpus")
def test_named_devices_stay() -> None:
    assert find_devices(("cuda:1", "cuda", "cpu")) == ("cuda:1", "cuda", "cpu")


@pytest.mark.usefixtures("two_gpus")
def test_cuda_is_every_gpu() -> None:
    assert find_devices(("cuda",)) == ("cuda:0", "cuda:1")


def test_cuda_is_never_the_cpu() -> None:
    with pytest.raises(
        DeviceError, match=r"'cuda' is not on this machine: .*; a container sees GPUs when .*--gpus all"
    ):
        find_devices(("cuda",))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("wanted", ["auto", "cuda", "cuda:1"])
def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(TorchBuild, "find", lambda: TorchBuild("2.13.0", True, "13.0"))
    message = (
        r"^the GPU driver 550\.54\.15 supports CUDA 12, and torch 2\.13\.0 brings CUDA 13\.0: "
        "install driver 580 or newer"
    )
    with pytest.raises(DeviceError, match=message):
        find_devices((wanted,))
    monkeypatch.setattr(TorchBuild, "find", lambda: TorchBuild("2.9.0", True, "12.8"))
    assert find_devices((wanted,))
    assert find_devices(("cpu",)) == ("cpu",)


def test_a_device_that_cannot_be_counted_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_DRIVERS", ("/dev/null",))
    assert find_devices(("cuda:0",)) == ("cuda:0",)


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="'cuda:0' is not on this machine: there is no CUDA device"):
        find_devices(("cuda:0",))


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_too_many() -> None:
    with pytest.raises(DeviceError, match="'cuda:2' is not on this machine: there is cuda:0, cuda:1"):
        find_devices(("cuda:0", "cuda:2"))


@pytest.mark.usefixtures("two_gpus")
def test_a_torch_for_the_cpu_only_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    build(monkeypatch, has_gpu_code=False)
    with pytest.raises(DeviceError, match=r"torch 2\.0\+x is a build for the CPU only"):
        find_devices(("cuda:0",))


@pytest.mark.parametrize("name", ["gpu0", "cuda:x", "CPU", "auto"])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(DeviceError, match=f"'{name}' is no device"):
        find_devices((name, "cpu"))


@pytest.mark.usefixtures("two_gpus")
def test_the_cards_and_their_free_memory() -> None:
    first, second = find_cards()
    assert (first.name, first.memory, first.generation) == ("NVIDIA H200", 80000 * 2**20, "hopper")
    assert (second.name, second.memory, second.generation) == ("Board, Rev 2", 24564 * 2**20, "older")
    assert find_cards(whole=True)[0].memory == 81559 * 2**20
    assert [(card.memory, free) for card, free in read_cards()] == [
        (81559 * 2**20, 80000 * 2**20),
        (24564 * 2**20, 24564 * 2**20),
    ]


def test_without_nvidia_smi_no_card_is_known() -> None:
    assert find_cards() == ()


class TestTheInstalledBuild:
    def test_it_is_read_from_its_version_file(self) -> None:
        import torch

        assert FIND() == TorchBuild(
            torch.__version__, bool(torch.version.cuda or torch.version.hip), torch.version.cuda
        )

    def test_it_may_be_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DeviceError, match="torch is not installed"):
            FIND()
