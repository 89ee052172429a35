"""Finds the devices to render on, and refuses those that are not there. Imports no torch."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from pipelines.models.planning.cards import Card, make_card

# A driver's own files: with one of them there may be a GPU that nvidia-smi does not list.
_LEAST_DRIVER = {12: 525, 13: 580}  # by the major version of CUDA: NVIDIA's table of minor version compatibility
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvmap", "/dev/kfd")


class DeviceError(ValueError):
    """A device cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The installed build of torch. `has_gpu_code` is true for CUDA and ROCm, and false for the CPU only.

    `cuda` is the version of CUDA that it brings.
    """

    version: str
    has_gpu_code: bool
    cuda: str | None = None

    @classmethod
    def find(cls) -> "TorchBuild":
        """Read the build's own version file, because the import of torch takes seconds. Raises `DeviceError`."""
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            raise DeviceError("torch is not installed")
        constants = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
        cuda = constants.get("cuda")
        return cls(constants["__version__"], bool(cuda or constants.get("hip")), cuda)

    def check_driver(self) -> None:
        """Raise `DeviceError` for a GPU driver that is too old for this build."""
        text = " ".join(_nvidia_smi() or ())
        supported = re.search(r"CUDA(?: \w+)? Version\s*:\s*(\d+)\.\d+", text)
        needed = int((self.cuda or "0").partition(".")[0])
        if supported is None or int(supported[1]) >= needed:
            return
        driver = re.search(r"Driver Version\s*:\s*([\d.]+)", text)
        raise DeviceError(
            f"the GPU driver {driver[1] if driver else ''} supports CUDA {supported[1]}, and torch {self.version} "
            f"brings CUDA {self.cuda}: install driver {_LEAST_DRIVER.get(needed, 'of this CUDA')} or newer, or start "
            "with --devices cpu"
        )


def find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Every NVIDIA GPU for `auto`, or the CPU without one or without a torch that can use it.

    `cuda` is every GPU too, and never the CPU. Other names stay as they are. Raises `DeviceError` for one that is not
    on this machine, and for a driver that is too old.
    """
    count = _gpu_count()
    every = tuple(f"cuda:{index}" for index in range(count or 0))
    if wanted == ("auto",) and not (every and TorchBuild.find().has_gpu_code):
        return ("cpu",)
    if wanted == ("auto",) or (wanted == ("cuda",) and every):
        wanted = every
    for name in wanted:
        _check(name, count)
    if any(name.startswith("cuda") for name in wanted):
        TorchBuild.find().check_driver()
    return wanted


def find_cards(*, whole: bool = False) -> tuple[Card, ...]:
    """The NVIDIA GPUs that nvidia-smi lists, with the memory that is free, or with all of it if `whole`."""
    return tuple(card if whole else replace(card, memory=free) for card, free in read_cards())


def read_cards() -> tuple[tuple[Card, int], ...]:
    """The NVIDIA GPUs that nvidia-smi lists, each with all of its memory, and the bytes of it that are free."""
    lines = _nvidia_smi("--query-gpu=memory.total,memory.free,compute_cap,name", "--format=csv,noheader,nounits") or ()
    return tuple(card for line in lines if (card := _read_card(line)) is not None)


def _read_card(line: str) -> tuple[Card, int] | None:
    """A line such as `24564, 24111, 8.9, NVIDIA GeForce RTX 4090`, with sizes in MiB. None without a size.

    Where the driver does not tell what is free, all is.
    """
    total, free, capability, name = (word.strip() for word in (line + ",,,").split(",", 3))
    if not total.isdecimal():
        return None
    major, _, minor = capability.partition(".")
    known = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
    card = make_card(name.strip(" ,"), int(total) * 2**20, known)
    return card, int(free) * 2**20 if free.isdecimal() else card.memory


def _check(name: str, count: int | None) -> None:
    """Raise `DeviceError` for a name that is no device here. `count` is the number of GPUs, None if unknown."""
    if re.fullmatch(r"cpu|mps|cuda(:\d+)?", name) is None:
        raise DeviceError(f"'{name}' is no device; there are auto, cpu, cuda, cuda:0, cuda:1 …")
    if not name.startswith("cuda"):
        return
    torch = TorchBuild.find()
    if not torch.has_gpu_code:
        raise DeviceError(
            f"'{name}' cannot be used: torch {torch.version} is a build for the CPU only. "
            "Install the CUDA build, or start with --devices cpu"
        )
    if count is not None and int(name.partition(":")[2] or 0) >= count:
        there = ", ".join(f"cuda:{index}" for index in range(count)) or "no CUDA device"
        raise DeviceError(
            f"'{name}' is not on this machine: there is {there}. --devices cpu uses the CPU; a container sees GPUs "
            "when it is started with --gpus all"
        )


def _gpu_count() -> int | None:
    """The number of GPUs that a process sees. None if only torch could say."""
    lines = _nvidia_smi("--list-gpus")
    if lines is None:
        return None if any(Path(path).exists() for path in _DRIVERS) else 0
    count = sum(line.startswith("GPU ") for line in lines)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    names = (name.strip() for name in visible.split(","))  # CUDA stops at the first name that is not there
    return len(list(takewhile(lambda name: name[:1].isalpha() or (name.isdecimal() and int(name) < count), names)))


def _nvidia_smi(*arguments: str) -> Sequence[str] | None:
    """The lines that the program prints; None without the program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=10)
    return done.stdout.splitlines()
