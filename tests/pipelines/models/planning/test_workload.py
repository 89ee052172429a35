import pytest

from pipelines.models.planning.sizes import QWEN_IMAGE
from pipelines.models.planning.workload import GIB, Workload


def test_tokens_are_those_of_the_image_the_references_and_the_prompt() -> None:
    assert Workload().tokens == 64 * 64 + 256
    assert Workload(2048, 1024, references=2).tokens == 128 * 64 + 2 * 4096 + 256


def test_a_forward_at_1024_takes_one_to_two_gib() -> None:
    assert GIB < Workload().denoise_bytes < 2 * GIB


def test_a_step_at_1024_takes_the_arithmetic_that_was_computed_by_hand() -> None:
    # 56 TFLOP of linear layers and 13 of attention for each forward, without the prompt.
    assert Workload().flops(QWEN_IMAGE.transformer) == pytest.approx(2 * 69e12, rel=0.08)
    assert Workload(guided=False).flops(QWEN_IMAGE.transformer) * 2 == Workload().flops(QWEN_IMAGE.transformer)


@pytest.mark.parametrize("size", [(128, 128), (1024, 1024), (2048, 2048)])
@pytest.mark.parametrize("references", [0, 1, 3])
def test_decoding_never_takes_more_than_a_forward(size: tuple[int, int], references: int) -> None:
    work = Workload(*size, references=references)
    assert work.decode_bytes < work.denoise_bytes


@pytest.mark.parametrize(
    "work", [Workload(width=1040), Workload(references=1), Workload(controls=1), Workload(results=2)], ids=str
)
def test_a_larger_request_takes_more_memory(work: Workload) -> None:
    assert work.denoise_bytes > Workload().denoise_bytes


def test_a_controlnet_of_five_blocks_takes_over_three_gib() -> None:
    assert Workload(controls=1).denoise_bytes - Workload().denoise_bytes == pytest.approx(3.29 * GIB, rel=0.01)


def test_results_that_advance_together_take_the_time_of_each() -> None:
    assert Workload(results=3).flops(QWEN_IMAGE.transformer) == 3 * Workload().flops(QWEN_IMAGE.transformer)


def test_a_workload_in_words() -> None:
    assert str(Workload(1328, 800)) == "1328×800"
    assert str(Workload(references=2, controls=1)) == "1024×1024 with 2 reference images and 1 ControlNet"
