"""The Triton kernel against its twin, where Triton is installed: the CUDA builds of torch bring it.

Its interpreter runs the kernel on a CPU, in a process of its own, because it is chosen at import.
"""

import os
import subprocess
import sys

import pytest

from accel.kernels.joint_heads import has_triton

pytestmark = pytest.mark.skipif(not has_triton(), reason="Triton is not installed")

CHECK = """
import torch
from accel.kernels.joint_heads import join_heads, run_kernel
from tests.accel.kernels.test_joint_heads import HEAD, HEADS, TOKENS, WORDS, inputs

for dtype in (torch.float32, torch.float16, torch.bfloat16):
    text, image, text_weight, image_weight, *parts = inputs(dtype)
    expected = join_heads(text, image, text_weight, image_weight, *parts, 1e-6)
    joint = torch.full((1, WORDS + TOKENS, HEADS, HEAD), float("nan"), dtype=dtype)
    run_kernel(joint[:, :WORDS], text, text_weight, tuple(parts[:2]), 1e-6)
    run_kernel(joint[:, WORDS:], image, image_weight, tuple(parts[2:]), 1e-6)
    unit = torch.finfo(dtype).eps
    difference = (joint.double() - expected.double()).abs().max().item()
    print(dtype, difference)
    assert difference <= 8 * unit, (dtype, difference)
"""


@pytest.mark.slow
def test_it_computes_what_its_twin_does() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
