"""Finds the devices to render on. Imports no torch."""

import shutil
import subprocess


def find_devices(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Every NVIDIA GPU for `auto`, or the CPU without one. Other names stay as they are."""
    if wanted != ("auto",):
        return wanted
    return tuple(f"cuda:{index}" for index in range(_gpu_count())) or ("cpu",)


def _gpu_count() -> int:
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listing = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, check=False, timeout=10)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
