import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.arithmetic import Work, forward_work


def test_it_counts_what_torch_counts() -> None:
    config = {
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": [4, 6, 6],
    }
    transformer = QwenImageTransformer2DModel(**config).eval()
    # As plain products, because torch does not count the CPU's own attention kernel.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        transformer(
            hidden_states=torch.randn(1, 64, 64),
            timestep=torch.tensor([0.5]),
            encoder_hidden_states=torch.randn(1, 5, 32),
            encoder_hidden_states_mask=None,
            img_shapes=[[(1, 8, 8)]],
            return_dict=False,
        )
    counted = {str(name): count for name, count in counter.get_flop_counts()["Global"].items()}
    attention = sum(count for name, count in counted.items() if "bmm" in name)
    work = forward_work(config, 64, 5)
    assert work.attention == attention
    # Only the embedding of the timestep and the last modulation are left out.
    assert work.products == pytest.approx(sum(counted.values()) - attention, rel=0.01)


def test_the_defaults_are_those_of_the_20b_model() -> None:
    work = forward_work({}, 4096, 60) * 100  # 1024 x 1024 pixels, 50 steps, two branches
    assert work.total / 790e12 == pytest.approx(8.76, abs=0.01)


def test_work_adds_up() -> None:
    assert (Work(1, 2) + Work(3, 4)) * 2 == Work(8, 12)
