import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading import attention_plans
from pipelines.models.loading.attention_plans import build_plans
from pipelines.models.planning.workload import Workload

WORKLOAD = Workload(256, 128, references=1, reference_area=128 * 128)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes whose attention runs, with cuDNN's kernel preferred."""
    shapes: list[tuple[int, ...]] = []

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        assert _cur_sdpa_kernel_backends(with_priority=True)[0] is SDPBackend.CUDNN_ATTENTION
        assert query.transpose(1, 2).is_contiguous()
        shapes.append(tuple(query.shape))

    monkeypatch.setattr(attention_plans, "scaled_dot_product_attention", run)
    return shapes


def test_each_length_runs_once(checkpoint: Checkpoint, planned: list[tuple[int, ...]]) -> None:
    build_plans(checkpoint, "cudnn", WORKLOAD, (6, 16))
    config = checkpoint.transformer.config
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    pictures = 16 * 8 + 8 * 8
    assert planned == [(1, heads, pictures + words, width) for words in (6, 16)]


@pytest.mark.parametrize(("kernel", "words"), [("flash", (6,)), ("torch", (6,)), ("cudnn", ())])
def test_nothing_runs_where_nothing_is_planned(
    checkpoint: Checkpoint, planned: list[tuple[int, ...]], kernel: str, words: tuple[int, ...]
) -> None:
    build_plans(checkpoint, kernel, WORKLOAD, words)
    assert planned == []
