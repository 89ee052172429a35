import pytest
import torch
from torch.nn.attention import SDPBackend

from accel.kernels.attention import AttentionChoice
from pipelines.models import checkpoint as module
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.running.device_setting import device_setting


def test_a_small_model_has_one_thread_and_the_kernel_of_its_device(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(module, "choose_attention", lambda device, dtype, wanted: AttentionChoice("efficient"))
    threads, math = torch.get_num_threads(), torch.backends.cuda.math_sdp_enabled()
    torch.set_num_threads(2)
    try:
        with device_setting(checkpoint):
            assert torch.get_num_threads() == 1
            assert torch._C._get_sdp_priority_order()[0] == SDPBackend.EFFICIENT_ATTENTION.value  # pyright: ignore[reportAttributeAccessIssue]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.backends.cuda.math_sdp_enabled() == math
