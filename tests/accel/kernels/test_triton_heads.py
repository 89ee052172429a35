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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel.kernels.joint_heads import join_heads, run_kernel
from tests.accel.kernels.test_joint_heads import inputs


@settings(max_examples=30, deadline=None, database=None)
@given(
    dtype=st.sampled_from((torch.float32, torch.float16, torch.bfloat16)),
    words=st.integers(1, 6),
    tokens=st.integers(1, 6),
    heads=st.integers(1, 6),
    head=st.sampled_from((2, 4, 6, 10, 16, 24, 128)),
    size=st.sampled_from((0.0, 1e-3, 1.0, 1e3)),
)
@example(torch.float32, 5, 7, 3, 8, 1.0)
@example(torch.bfloat16, 1, 1, 24, 128, 1.0)
def check(dtype, words, tokens, heads, head, size):
    text, image, *others = inputs(dtype, words, tokens, heads, head)
    text, image = text * size, image * size
    expected = join_heads(text, image, *others, 1e-6)
    joint = torch.full((1, words + tokens, heads, head), float("nan"), dtype=dtype)
    text_weight, image_weight, *parts = others
    run_kernel(joint[:, :words], text, text_weight, tuple(parts[:2]), 1e-6)
    run_kernel(joint[:, words:], image, image_weight, tuple(parts[2:]), 1e-6)
    unit = torch.finfo(dtype).eps * max(1.0, expected.abs().max().item())
    assert (joint.double() - expected.double()).abs().max().item() <= 4 * unit


check()
"""


@pytest.mark.slow
def test_it_computes_what_its_twin_does() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
