from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.planning import entries
from pipelines.models.planning.cards import CPU, GIB, Card, Host, find_card
from pipelines.models.planning.entries import (
    PlanOptions,
    entry_sizes,
    plan_entry,
    stored_precision,
    usual_workload,
    workload_of,
)
from pipelines.models.planning.planner import PlanError, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE, Packed
from pipelines.models.planning.workload import Workload
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler

TEXT, EDIT, EDIT_PLUS = load_catalog().entries[:3]
HOST = Host(64 * GIB)


@pytest.fixture(autouse=True)
def nothing_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    real = entries.local_folder
    monkeypatch.setattr(entries, "local_folder", lambda weights, _=(): real(weights) if weights == EMBEDDED else None)


@pytest.fixture
def card() -> Card:
    found = find_card("RTX 4090")
    assert found is not None
    return found


@pytest.mark.parametrize(("entry", "side", "references"), [(TEXT, 1328, 0), (EDIT, 1024, 1), (EDIT_PLUS, 1024, 1)])
def test_the_usual_request_is_of_the_model(entry: ModelEntry, side: int, references: int) -> None:
    work = usual_workload(entry, PlanOptions())
    assert (work.width, work.height, work.references, work.guided) == (side, side, references, True)
    assert not usual_workload(replace(entry, true_cfg_scale=1.0), PlanOptions()).guided


@pytest.mark.parametrize(("entry", "references"), [(TEXT, 0), (EDIT, 1), (EDIT_PLUS, 3)])
def test_the_user_leaves_room_for_larger_requests(entry: ModelEntry, references: int) -> None:
    work = usual_workload(entry, PlanOptions(size=(2048, 1024), references=3))
    assert (work.width, work.height, work.references) == (2048, 1024, references)


def test_the_workload_of_a_request() -> None:
    picture = Reference(Path("a.png"), "0" * 64, 8, 8)
    request = RenderRequest("a", "b", None, 1328, 800, 20, Sampler(), 4.0, 7, count=4, references=(picture, picture))
    assert workload_of(request, EDIT_PLUS) == Workload(1328, 800, 2, EDIT_PLUS.reference_area, steps=20)
    control = ControlUse("a", "b", picture)
    controlled = replace(request, references=(), controls=(control,), true_cfg_scale=1.0)
    assert workload_of(controlled, TEXT) == Workload(1328, 800, controls=1, steps=20, guided=False)
    assert workload_of(controlled, replace(TEXT, native_area=128 * 128)).width == 128


def test_weights_that_are_not_here_count_as_those_of_qwen_image() -> None:
    assert entry_sizes(TEXT) == QWEN_IMAGE


def test_the_embedded_checkpoint_fits_every_card(card: Card) -> None:
    entry = load_catalog().with_embedded_weights().entries[0]
    plan = plan_entry(entry, replace(card, memory=4 * GIB), HOST, PlanOptions())
    assert usual_workload(entry, PlanOptions(size=(2048, 2048))).width == 128
    assert not plan.transformer.streamed_bytes
    assert not plan.text_encoder.streamed_bytes


def test_an_edit_streams_more_than_text_to_image(card: Card) -> None:
    text, edit = (plan_entry(entry, card, HOST, PlanOptions()) for entry in (TEXT, EDIT))
    assert edit.transformer.streamed_bytes > text.transformer.streamed_bytes > 0


def test_a_cpu_keeps_everything_in_float32_unless_asked() -> None:
    plan = plan_entry(TEXT, CPU, HOST, PlanOptions())
    assert {part.precision for part in (plan.transformer, plan.text_encoder, plan.vae)} == {"fp32"}
    assert plan.host_bytes / GIB == pytest.approx(4 * (20.43 + 7.75 + 0.13) * 1e9 / GIB, rel=0.01)
    assert (plan.peak_bytes, plan.tables, plan.seconds_per_step) == (0, False, None)
    asked = plan_entry(TEXT, CPU, HOST, PlanOptions(wishes=Wishes("fp8", "int8")))
    assert (asked.transformer.precision, asked.text_encoder.precision) == ("fp8", "int8")
    assert asked.host_bytes < plan.host_bytes / 2.5  # twelve layers of the text encoder stay in float32


def test_options_limit_the_card(card: Card) -> None:
    assert PlanOptions().limit(card) == card
    assert PlanOptions(vram=4 * GIB).limit(card) == replace(card, memory=4 * GIB)
    with pytest.raises(PlanError):
        plan_entry(TEXT, PlanOptions(vram=4 * GIB).limit(card), HOST, PlanOptions())


@pytest.mark.parametrize(
    ("name", "kind", "weight"),
    [
        ("qwen_image_fp8_e4m3fn.safetensors", "fp8", 1.0),
        ("city96/Qwen-Image-gguf/qwen-image-Q4_K_M.gguf", "gguf", 0.64),
        ("qwen-image-Q8_0.gguf", "gguf", 1.08),
    ],
)
def test_the_name_of_a_file_says_what_it_holds(name: str, kind: str, weight: float) -> None:
    packed = entry_sizes(replace(TEXT, transformer=name)).transformer.packed
    assert packed is not None
    assert (packed.kind, packed.weight_bytes) == (kind, weight)


def test_a_text_encoder_in_gguf_may_stay_packed(card: Card) -> None:
    entry = replace(TEXT, text_encoder="unsloth/Qwen2.5-VL-7B-Instruct-GGUF/Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf")
    assert entry_sizes(entry).text_encoder.packed == Packed("gguf", 0.64)
    small = Host(33 * GIB)
    assert plan_entry(TEXT, card, small, PlanOptions()).exact is False
    plan = plan_entry(entry, card, small, PlanOptions())
    assert (plan.transformer.precision, plan.text_encoder.precision, plan.exact) == ("bf16", "packed", True)


def test_the_size_of_a_text_encoder_in_fp8_says_so(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    with path.open("wb") as file:
        file.truncate(9_384_670_680)  # qwen_2.5_vl_7b_fp8_scaled.safetensors
    assert entry_sizes(replace(TEXT, text_encoder=str(path))).text_encoder.packed == Packed("fp8", 1.0)
    with path.open("wb") as file:
        file.truncate(16_584_333_312)  # qwen_2.5_vl_7b.safetensors
    assert entry_sizes(replace(TEXT, text_encoder=str(path))).text_encoder.packed is None


@pytest.mark.parametrize("name", ["qwen_image_bf16.safetensors", "qwen-image-BF16.gguf", "Qwen/Other"])
def test_a_file_of_whole_numbers_is_not_packed(name: str) -> None:
    assert entry_sizes(replace(TEXT, transformer=name)).transformer.packed is None


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("a.gguf", 600, Packed("gguf", 0.6)),
        ("a.safetensors", 1003, Packed("fp8", 1)),
        ("a_fp8.safetensors", 2000, None),
        ("a.gguf", 2000, None),
    ],
)
def test_the_size_of_a_file_counts_more_than_its_name(
    tmp_path: Path, name: str, size: int, expected: Packed | None
) -> None:
    (tmp_path / name).write_bytes(b"0" * size)
    assert stored_precision(str(tmp_path / name), 1000) == expected
