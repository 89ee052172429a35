import pytest
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.row_groups.encoder_rows import ENCODED, ENCODED_FP8, encoder_rows, make_room
from benchmarks.random_models import ModelSize
from benchmarks.runs.budget import Figures
from pipelines.models.formats.fill import build_empty
from pipelines.models.loading.loader import make_text_encoder
from pipelines.models.planning.sizes import QWEN_IMAGE

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def found() -> dict[str, Figures]:
    return {row.name: row.measure() for row in encoder_rows(Bench(ModelSize.load("small"), CPU))}


def test_a_prompt_is_encoded_in_both_precisions(found: dict[str, Figures]) -> None:
    exact, fp8 = found[ENCODED], found[ENCODED_FP8]
    assert exact["seconds"] > 0
    assert exact["finite"]
    assert exact["tokens"] == fp8["tokens"] > 10
    assert "embeddings_relative_difference" not in exact
    assert 0 < fp8["embeddings_relative_difference"] < 0.3


def test_fp8_takes_less_memory(found: dict[str, Figures]) -> None:
    assert found[ENCODED_FP8]["encoder_gib"] < found[ENCODED]["encoder_gib"]


def test_the_full_size_is_the_real_one() -> None:
    empty = build_empty(lambda: make_text_encoder({"text_config": ModelSize.load("full").encoder}, with_vision=False))
    found = sum(weight.numel() for weight in empty.parameters())
    sizes = QWEN_IMAGE.text_encoder
    assert found == pytest.approx(sizes.layers * sizes.layer + sizes.embeddings, rel=1e-3)


@pytest.mark.parametrize(("device", "left"), [("cuda", True), ("cpu", False)])
def test_the_transformer_leaves_where_the_card_has_no_room_for_both(
    monkeypatch: pytest.MonkeyPatch, device: str, left: bool
) -> None:
    bench, calls = Bench(ModelSize.load("small"), torch.device(device)), []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (99, 1000))
    monkeypatch.setattr(bench, "forget", lambda: calls.append(True))
    make_room(bench, 99)
    assert not calls
    make_room(bench, 100)
    assert bool(calls) == left
