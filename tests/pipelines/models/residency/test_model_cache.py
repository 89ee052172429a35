import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from structlog.testing import capture_logs

from accel.kernels.block_graphs import BlockGraphs
from accel.kernels.compiled_block import CompiledBlocks, Kernels
from accel.weights.quantized.quantize import describe_linears
from pipelines.batching import BatchGains, BranchGain, write_gains
from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import encode_prompt
from pipelines.errors import LoadError, SizeError
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.devices import device_name
from pipelines.models.loading.loader import load
from pipelines.models.memory import storage_bytes
from pipelines.models.planning.cards import GIB, make_card
from pipelines.models.planning.entries import PlanOptions
from pipelines.models.planning.planner import Wish, Wishes
from pipelines.models.planning.workload import Workload
from pipelines.models.residency import model_cache
from pipelines.models.residency.loaded_models import RESERVE_BYTES
from pipelines.models.residency.model_cache import ModelCache
from pipelines.models.residency.options import ModelOptions, PromptFolder
from tests.accel.kernels.fake_capture import FakeCapture
from tests.pipelines.models.formats.encoders import save_language_gguf
from tests.pipelines.render.renders import asked


def entry(mode: Mode, weights: str | Path = "embedded") -> ModelEntry:
    return replace(next(e for e in load_catalog().entries if e.mode == mode), weights=str(weights))


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    """A copy of the weights, for spoiling."""
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def test_entries_of_the_same_weights_share_them(folder: Path) -> None:
    models = ModelCache("cpu")
    one, *others = (models.get(entry(mode, folder)) for mode in ("text_to_image", "edit", "edit_plus"))
    assert all(other is one for other in others)


def counting(monkeypatch: pytest.MonkeyPatch, models: ModelCache) -> list[int]:
    """For each model that is loaded, how many others are kept at that moment."""
    counts: list[int] = []

    def load_and_count(*arguments: Any, **options: Any) -> Checkpoint:
        counts.append(len(models._models.models))
        return load(*arguments, **options)

    monkeypatch.setattr(model_cache, "load", load_and_count)
    return counts


@pytest.mark.slow
def test_a_model_that_waits_is_not_loaded_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, trained: Checkpoint
) -> None:
    models = ModelCache("cpu")
    counts = counting(monkeypatch, models)
    one, other = (models.get(entry("text_to_image", weights)) for weights in (folder, "embedded"))
    assert models.get(entry("text_to_image", folder)) is one
    assert models.get(entry("text_to_image")) is other
    assert counts == [0, 1]
    assert torch.equal(other.checkpoint.transformer.proj_out.weight, trained.transformer.proj_out.weight)


@pytest.mark.slow
def test_the_old_model_is_dropped_before_the_new_one_is_loaded_when_host_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(model_cache, "free_host_memory", lambda: 0)
    models = ModelCache("cpu")
    counts = counting(monkeypatch, models)
    for weights in (folder, "embedded", folder):
        models.get(entry("text_to_image", weights))
    assert counts == [0, 0, 0]


def test_relaxed_rounding_without_compiled_blocks_is_told(folder: Path) -> None:
    models = ModelCache("cpu", ModelOptions(relaxed=True, fused_heads=True))
    with capture_logs() as lines:
        models.get(entry("text_to_image", folder))
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "--exactness relaxed and --fused-heads on have no effect: the blocks are not compiled"
    ]


def test_a_kernel_without_its_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache("cpu", ModelOptions(fused_heads=True))
    for installed, events in ((True, []), (False, ["--fused-heads on has no effect: Triton is not installed"])):
        monkeypatch.setattr(model_cache, "has_triton", lambda installed=installed: installed)
        with capture_logs() as lines:
            assert models._kernels() == Kernels(fused_heads=installed)
        assert [line["event"] for line in lines] == events


def test_an_attention_kernel_that_does_not_run_ends_the_load(folder: Path) -> None:
    with pytest.raises(LoadError, match=r"attention 'cudnn' does not run on cpu in float32 .*; these do: flash, math"):
        ModelCache("cpu", ModelOptions(attention="cudnn")).get(entry("text_to_image", folder))
    model = ModelCache("cpu", ModelOptions(attention="math")).get(entry("text_to_image", folder))
    assert model.engaged("a").attention == "math"


def test_requests_run_without_compilation_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    go_on, compiled = threading.Event(), CompiledBlocks("eager")

    def compile_slowly(checkpoint: Checkpoint, *_: Any) -> Checkpoint:
        assert go_on.wait(10)
        return replace(checkpoint, compiled=compiled)

    monkeypatch.setattr(model_cache, "compile_blocks", compile_slowly)
    models, asked_for = ModelCache("cpu"), entry("text_to_image", folder)
    model = models.get(asked_for)
    models._models.replace(
        asked_for.files, replace(model, checkpoint=models._compile(asked_for, model.checkpoint, tmp_path))
    )
    early = models.get(asked_for)
    assert (early.checkpoint.compiled, early.engaged("a").compiling, early.engaged("a").compiled) == (None, True, False)
    go_on.set()
    models.get(entry("text_to_image"))  # another model waits for the end, because weights move
    late = models.get(asked_for)
    assert (late.checkpoint.compiled, late.engaged("a").compiling, late.engaged("a").compiled) == (
        compiled,
        False,
        True,
    )
    assert late.checkpoint.transformer is early.checkpoint.transformer
    assert early.checkpoint.compiled is None  # a request that has begun keeps what it began with


def test_who_measures_waits_for_the_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    compiled, asked_for, models = CompiledBlocks("eager"), entry("text_to_image", folder), ModelCache("cpu")
    monkeypatch.setattr(model_cache, "compile_blocks", lambda checkpoint, *_: replace(checkpoint, compiled=compiled))
    model = models.get(asked_for)
    compiling = models._compile(asked_for, model.checkpoint, tmp_path)
    models._models.replace(asked_for.files, replace(model, checkpoint=compiling))
    assert models.get_compiled(asked_for).checkpoint.compiled is compiled


def test_streamed_weights_are_compiled_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(model_cache, "compile_blocks", lambda checkpoint, *_: replace(checkpoint, formats={"a": "b"}))
    models = ModelCache("cpu", ModelOptions(streamed_blocks=1))
    checkpoint = models.get(entry("text_to_image", folder)).checkpoint
    assert models._compile(entry("text_to_image", folder), checkpoint, tmp_path).formats == {"a": "b"}
    assert models._compilation is None


def test_graphs_are_for_gpus_only_and_leave_when_memory_is_freed(folder: Path) -> None:
    models, asked_for = ModelCache("cpu", ModelOptions(graphs=True)), entry("text_to_image", folder)
    model = models.get(asked_for)
    assert model.checkpoint.graphs is None
    assert model.engaged("a").graphs is None
    graphs = BlockGraphs(FakeCapture())
    models._models.replace(asked_for.files, replace(model, checkpoint=replace(model.checkpoint, graphs=graphs)))
    inputs = torch.ones(1, 2, 3), torch.ones(1, 2, 3)
    for _ in range(2):
        graphs.run("key", lambda image, text: (image + 1, text + 1), inputs)
    assert models.get(asked_for).engaged("a").graphs == 1
    models.free_memory(models=False)
    assert models.get(asked_for).engaged("a").graphs == 0


def test_branches_run_as_one_batch_where_that_is_wanted(folder: Path) -> None:
    model = ModelCache("cpu", ModelOptions(batched_cfg=True)).get(entry("text_to_image", folder))
    assert model.checkpoint.batch_branches
    assert model.engaged("a").batched_cfg
    assert not model.engaged("a").plain  # its latents round in another way, so receipts say so


@pytest.mark.parametrize(
    ("gain", "device", "batched"), [(1.4, None, "auto"), (1.0, None, False), (1.4, "another device", False)]
)
def test_branches_run_as_one_batch_where_a_measurement_says_so(
    folder: Path, tmp_path: Path, gain: float, device: str | None, batched: str | bool
) -> None:
    path, asked_for = tmp_path / "batching.json", entry("text_to_image", folder)
    measured = (BranchGain(asked_for.air, 512, 512, gain, 0.0),)
    write_gains(path, BatchGains(device or device_name("cpu"), str(torch.__version__), (), branches=measured))
    with capture_logs() as lines:
        model = ModelCache("cpu", ModelOptions(branch_gains=path)).get(asked_for)
    assert (model.checkpoint.batch_branches, model.engaged("a").batched_cfg) == (False, batched)
    events = [line["event"] for line in lines if "batch" in line["event"]]
    expected = "branches run as one batch where it pays" if batched else "--batched-cfg auto has no effect"
    assert events == [expected]


def test_measurements_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "batching.json").write_text("{")
    with capture_logs() as lines:
        ModelCache("cpu", ModelOptions(branch_gains=tmp_path / "batching.json"))
    assert lines[0]["event"] == "--batched-cfg auto has no effect"
    assert "cannot be read" in lines[0]["reason"]


def test_a_share_of_the_host_memory_is_kept(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    models = ModelCache("cpu", ModelOptions(PlanOptions(host_memory=RESERVE_BYTES)))
    counts = counting(monkeypatch, models)
    for weights in (folder, "embedded"):
        models.get(entry("text_to_image", weights))
    assert counts == [0, 0]


def test_weights_without_a_processor_draw_but_do_not_edit(folder: Path) -> None:
    shutil.rmtree(folder / "processor")
    models = ModelCache("cpu")
    drawing = models.get(entry("text_to_image", folder))
    with pytest.raises(LoadError, match="cannot edit"):
        models.get(entry("edit", folder))
    assert models.get(entry("text_to_image", folder)) is drawing


def test_a_text_encoder_without_a_vision_tower_draws_but_does_not_edit(folder: Path, tmp_path: Path) -> None:
    checkpoint = load(str(folder), torch.device("cpu"), torch.float32, with_vision=False)
    state = dict(checkpoint.text_encoder.state_dict())
    save_language_gguf(state, tmp_path / "qwen.gguf")
    models = ModelCache("cpu")
    drawing, editing = (
        replace(entry(mode, folder), text_encoder=str(tmp_path / "qwen.gguf")) for mode in ("text_to_image", "edit")
    )
    assert not models.get(drawing).checkpoint.sees
    with pytest.raises(LoadError, match=r"qwen\.gguf.*put its mmproj file beside"):
        models.get(editing)


@pytest.mark.slow
def test_models_of_equal_encoders_and_vaes_share_them(folder: Path, tmp_path: Path) -> None:
    """As Qwen-Image and Qwen-Image-Edit, whose repositories hold the same files."""
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    config = other / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"zero_cond_t": false', '"zero_cond_t": true'))
    models = ModelCache("cpu")
    one = models.get(entry("text_to_image", folder)).checkpoint
    two = models.get(entry("edit", other)).checkpoint
    assert one.transformer is not two.transformer
    assert (two.text_encoder, two.vae) == (one.text_encoder, one.vae)
    models.free_memory(models=True)
    assert models.get(entry("edit", other)).checkpoint.vae is not one.vae


def test_a_failure_can_be_repaired(folder: Path) -> None:
    config = folder / "vae" / "config.json"
    good = config.read_text()
    config.write_text("{")
    models = ModelCache("cpu")
    with pytest.raises(LoadError):
        models.get(entry("edit", folder))
    config.write_text(good)
    assert models.get(entry("edit", folder)).checkpoint.image_processor is not None


@torch.inference_mode()
def test_usage_tells_weights_from_what_was_made_with_them(folder: Path) -> None:
    models = ModelCache("cpu")
    assert set(models.usage().values()) == {0}
    model = models.get(entry("text_to_image", folder))
    embeds = encode_prompt("a red circle", None, model, entry("text_to_image")).embeds
    weights = sum(
        weight.nbytes
        for network in (model.checkpoint.transformer, model.checkpoint.vae, model.checkpoint.text_encoder)
        for weight in {id(weight): weight for weight in (*network.parameters(), *network.buffers())}.values()
    )
    assert models.usage() == {
        "checkpoint": weights,
        "controlnet": 0,
        "lora": 0,
        "embedding": embeds.nbytes,
        "modulation": 0,
    }
    assert storage_bytes(model) == weights  # a model's memory is told by kind, and not as part of its weights
    assert storage_bytes(LoadedModel(model.checkpoint)) == weights


@torch.inference_mode()
def test_a_prompt_is_known_after_a_restart(folder: Path, tmp_path: Path) -> None:
    options = ModelOptions(prompts=PromptFolder(tmp_path / "prompts", 10**6))
    row = entry("text_to_image", folder)
    made = encode_prompt("a red circle", None, ModelCache("cpu", options).get(row), row)
    again = ModelCache("cpu", options).get(row)
    without_encoder = replace(again, checkpoint=replace(again.checkpoint, text_encoder=cast("Any", None)))
    assert torch.equal(encode_prompt("a red circle", None, without_encoder, row).embeds, made.embeds)


def test_without_a_folder_no_prompt_is_kept(folder: Path) -> None:
    assert ModelCache("cpu").get(entry("text_to_image", folder)).prompts is None


@pytest.mark.parametrize("models", [False, True])
def test_memory_is_freed_with_or_without_the_weights(folder: Path, models: bool) -> None:
    cache = ModelCache("cpu")
    drawing = cache.get(entry("text_to_image", folder))
    encode_prompt("a", None, drawing, entry("text_to_image", folder))
    assert cache.usage()["embedding"]
    cache.free_memory(models=models)
    assert cache.usage()["embedding"] == 0
    assert bool(cache.usage()["checkpoint"]) != models
    assert (cache.get(entry("text_to_image", folder)) is drawing) != models


@pytest.mark.parametrize("precision", ["fp8", "int8", "nf4"])
def test_a_wished_precision_is_carried_out(precision: Wish) -> None:
    options = ModelOptions(PlanOptions(wishes=Wishes(precision)))
    model = ModelCache("cpu", options).get(entry("text_to_image"))
    forms = describe_linears(model.checkpoint.transformer.transformer_blocks).layers
    assert [form.split("/")[0] for form in forms] == [precision]
    assert model.precision == f"float32, transformer {precision}"


def test_without_a_wish_a_cpu_calculates_in_float32() -> None:
    model = ModelCache("cpu").get(entry("text_to_image"))
    assert dict(describe_linears(model.checkpoint.transformer).layers) == {"float32": 90}
    assert model.precision == "float32"


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "device_card", lambda device: make_card("small", 3 * GIB, (8, 6)))
    with pytest.raises(LoadError, match=r"Weights 'Qwen/Qwen-Image': .*3\.0 GiB"):
        ModelCache("cpu").get(entry("text_to_image", "Qwen/Qwen-Image"))


def test_a_request_that_does_not_fit_the_card_is_refused_before_it_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "device_card", lambda device: make_card("small", 5 * GIB, (8, 6)))
    row = entry("text_to_image", folder)
    model = ModelCache("cpu").get(row)
    assert model.plan is not None
    assert model.plan.tables
    steps: list[int] = []
    with pytest.raises(SizeError, match=r"2048×2048 takes about \d\.\d GiB of GPU memory, and 5\.0 GiB may be used"):
        generate(asked(width=2048, height=2048), 0, model, row, lambda step, _: steps.append(step))
    assert not steps
    generate(asked(width=64, height=64), 0, model, row, lambda step, _: steps.append(step))
    assert steps


def test_a_size_that_ran_out_is_remembered_when_the_weights_are_loaded_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "device_card", lambda device: make_card("small", 5 * GIB, (8, 6)))
    row, models = entry("text_to_image", folder), ModelCache("cpu")
    first = models.get(row).admission
    assert first is not None
    first.record_failure(Workload(64, 64))
    models.free_memory(models=True)
    again = models.get(row).admission
    assert again is not None
    assert again is not first
    with pytest.raises(SizeError, match="just run out"):
        again.check(Workload(128, 128))
