import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.kernels.attention import AttentionChoice
from accel.kernels.block_graphs import BlockGraphs
from accel.kernels.compiled_block import CompiledBlocks
from pipelines import image_render
from pipelines.batching import BatchGains, BranchGain, write_gains
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.errors import LoadError
from pipelines.models import checkpoint
from pipelines.models.devices import device_name
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission
from pipelines.models.planning.entries import workload_of
from pipelines.models.planning.workload import Workload
from pipelines.models.residency.model_cache import ModelCache
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions
from pipelines.render.state import RenderState
from pipelines.request import FaceRefinement, RenderRequest, Sampler
from server.jobs.workers.images import image_writer
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.messages import ImageWritten, Output, RenderJob
from server.media.encode import Encoding
from tests.accel.kernels.fake_capture import FakeCapture

REQUEST = RenderRequest("runware:108@1", "a", None, 64, 64, 2, Sampler(), 1.0, 7, 2)
PNG = Encoding("PNG", 95)
MakeWriter = Callable[..., ImageWriter]


@pytest.fixture(scope="module")
def catalog(weights: Path) -> Catalog:
    """The first model of the catalogue alone, with random weights."""
    return Catalog((replace(load_catalog().entries[0], weights=str(weights)),))


@pytest.fixture(scope="module")
def writer(catalog: Catalog) -> Iterator[ImageWriter]:
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS)) as writer:
        yield writer


@pytest.fixture
def make_writer() -> Iterator[MakeWriter]:
    with contextlib.ExitStack() as stack:

        def make(device: str, catalog: Catalog, options: ModelOptions = DEFAULT_OPTIONS) -> ImageWriter:
            return stack.enter_context(contextlib.closing(ImageWriter(device, catalog, options)))

        yield make


def ignore() -> None:
    """Nothing is to be loaded."""


def write(
    writer: ImageWriter, job: RenderJob, output: Output, before_load: Callable[[], None] = ignore
) -> ImageWritten:
    """A whole image, as the loop writes it."""
    image = writer.open(job, [output], before_load)
    image.prepare()
    while not image.ready:
        image.advance()
    image.decode(lambda: None)
    (written,) = image.write()
    writer.note_written()
    return written


def test_the_log_says_when_other_weights_are_loaded(
    make_writer: MakeWriter,
    catalog: Catalog,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(image_writer.log, "info", lambda event, **values: lines.append((event, values["model"])))
    (first,) = catalog.entries
    others = tuple(replace(first, air=f"a:{n}@1", weights=path) for n, path in ((1, str(weights)), (2, f"{weights}/")))
    writer = make_writer("cpu", Catalog((first, *others)), DEFAULT_OPTIONS)
    output = Output(0, tmp_path / "0.png")
    loads: list[str] = []
    for air in ("a:1@1", "a:2@1", "a:2@1"):
        job = RenderJob(1, replace(REQUEST, model=air), PNG, (output,))
        write(writer, job, output, functools.partial(loads.append, air))
    assert loads == ["a:2@1"]
    assert [line for line in lines if line[0] != "engaged"] == [
        ("loading", first.air),
        ("loading", "a:2@1"),
        ("loaded", "a:2@1"),
    ]


def test_what_engaged_is_in_the_log_the_receipt_and_the_reply(
    make_writer: MakeWriter, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(image_writer.log, "info", lambda event, **values: lines.update({event: values}))
    writer = make_writer("cpu", catalog, ModelOptions(streamed_blocks=1, tables=True))
    assert re.fullmatch(
        r"transformer float32, \d\.\d MiB resident, \d\.\d MiB streamed a step, modulation from tables, "
        "text encoder float32, attention torch",
        lines["engaged"]["weights"],
    )
    assert lines["plan"]["reason"] == "A CPU keeps everything in host memory."
    output = Output(0, tmp_path / "0.png")
    written = write(writer, RenderJob(1, REQUEST, PNG, (output,)), output)
    assert written.engaged == writer.engaged is not None
    told = json.loads(written.receipt)["engaged"]
    assert (told["tables"], told["layers"], told["attention"]) == (True, {"float32": 34}, "torch")
    assert told["formats"] == {"transformer": "folder F32", "text_encoder": "folder F32", "vae": "folder F32"}
    assert 0 < told["streamed_gib"] < told["host_gib"]


def test_the_receipt_of_plain_weights_says_nothing_more(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    written = write(writer, RenderJob(1, REQUEST, PNG, (output,)), output)
    assert written.engaged is not None
    assert written.engaged.plain
    assert "engaged" not in json.loads(written.receipt)


def test_branches_as_one_batch_are_in_the_receipt_of_each_image_where_they_engaged(
    make_writer: MakeWriter, catalog: Catalog, tmp_path: Path
) -> None:
    path, measured = tmp_path / "batching.json", (BranchGain(REQUEST.model, REQUEST.width, REQUEST.height, 1.4, 0.0),)
    write_gains(path, BatchGains(device_name("cpu"), str(torch.__version__), (), branches=measured))
    writer, output = make_writer("cpu", catalog, ModelOptions(branch_gains=path)), Output(0, tmp_path / "0.png")
    for changes, batched in (({"true_cfg_scale": 4.0}, True), ({"true_cfg_scale": 1.0}, False)):
        written = write(writer, RenderJob(1, replace(REQUEST, **changes), PNG, (output,)), output)
        engaged = json.loads(written.receipt).get("engaged")
        assert (written.batched_branches, engaged is not None and engaged["batched_cfg"]) == (batched, batched)


def test_slow_attention_is_in_the_log(
    make_writer: MakeWriter, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    choice = AttentionChoice(warning="cuDNN is hidden.")
    monkeypatch.setattr(checkpoint, "choose_attention", lambda device, dtype, wanted: choice)
    monkeypatch.setattr(image_writer.log, "warning", lambda event, **values: warned.append(values["reason"]))
    assert make_writer("cpu", catalog, DEFAULT_OPTIONS).engaged
    assert warned == ["cuDNN is hidden."]


def test_what_has_changed_since_the_last_image_is_told(
    make_writer: MakeWriter, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, entry = make_writer("cpu", catalog), catalog.entries[0]
    model = writer._models.get(entry)
    output = Output(0, tmp_path / "0.png")
    for changes, told in (
        ({"compiling": True}, (True, False, None)),
        ({"compiled": CompiledBlocks("eager")}, (False, True, None)),
        ({"graphs": BlockGraphs(FakeCapture())}, (False, True, 0)),
    ):
        later = replace(model, checkpoint=replace(model.checkpoint, **changes))
        monkeypatch.setattr(writer._models, "get", lambda entry, later=later: later)
        writer.open(RenderJob(1, REQUEST, PNG, (output,)), (output,))
        assert writer.engaged is not None
        assert (writer.engaged.compiling, writer.engaged.compiled, writer.engaged.graphs) == told


def test_a_model_that_is_no_longer_served(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    job = RenderJob(1, replace(REQUEST, model="runware:108@20"), PNG, (output,))
    with pytest.raises(LookupError, match="no longer in the catalogue"):
        write(writer, job, output)


def test_a_device_that_does_not_exist(make_writer: MakeWriter, catalog: Catalog) -> None:
    with pytest.raises(RuntimeError, match="graphics"):
        make_writer("graphics", catalog, DEFAULT_OPTIONS)


def test_weights_that_are_missing(make_writer: MakeWriter, catalog: Catalog, tmp_path: Path) -> None:
    missing = Catalog((replace(catalog.entries[0], weights=str(tmp_path / "nothing")),))
    with pytest.raises(LoadError, match="nothing"):
        make_writer("cpu", missing, DEFAULT_OPTIONS)


def test_after_the_device_ran_out_of_memory_the_next_job_runs(
    make_writer: MakeWriter, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make_writer("cpu", catalog, DEFAULT_OPTIONS)
    outputs = [Output(0, tmp_path / f"{number}.png") for number in range(4)]
    jobs = [RenderJob(1, REQUEST, PNG, (output,)) for output in outputs]
    before = write(writer, jobs[0], outputs[0]).sha256
    models = writer._models
    assert isinstance(models, ModelCache)
    real, weights = image_render.advance, models.usage()["checkpoint"]

    def run_out(states: Sequence[RenderState]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kept: list[int] = []
    for _ in range(2):
        monkeypatch.setattr(image_render, "advance", run_out)
        with pytest.raises(torch.OutOfMemoryError):
            write(writer, jobs[1], outputs[1])
        writer.free_memory()
        kept.append(models.usage()["checkpoint"])
        assert not models.usage()["embedding"]
    monkeypatch.setattr(image_render, "advance", real)
    assert kept == [weights, 0]  # the second time in a row the weights go too
    assert [write(writer, jobs[n], outputs[n]).sha256 for n in (2, 3)] == [before, before]
    assert not outputs[1].path.exists()


class TestBeside:
    """What runs beside the steps of another image."""

    JOB = RenderJob(1, REQUEST, PNG, ())

    def test_a_cpu_has_no_cores_for_it(self, writer: ImageWriter) -> None:
        assert not writer.encodes_beside()
        assert not writer.decodes_beside(self.JOB, None)
        assert writer.fits_beside(self.JOB, [self.JOB] * 7)

    def test_a_gpu_encodes_and_decodes_but_refines_no_faces(
        self, writer: ImageWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "on_gpu", True)
        assert writer.encodes_beside()
        assert writer.decodes_beside(self.JOB, self.JOB)
        faces = FaceRefinement("a face", None, true_cfg_scale=1.0, steps=2, strength=1.0, mask_blur=0)
        assert not writer.decodes_beside(replace(self.JOB, request=replace(REQUEST, faces=faces)), self.JOB)

    def test_an_encoder_that_waits_in_host_memory_stays_there(
        self, writer: ImageWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "on_gpu", True)
        assert writer._model is not None
        waiting: Any = object()
        checkpoint_with = replace(writer._model.checkpoint, waiting=waiting)
        monkeypatch.setattr(writer, "_model", replace(writer._model, checkpoint=checkpoint_with))
        assert not writer.encodes_beside()

    @pytest.mark.parametrize(("room", "decodes", "fits"), [(0, False, False), (1, True, True)])
    def test_the_memory_of_the_card_is_enough_for_it(
        self, writer: ImageWriter, monkeypatch: pytest.MonkeyPatch, room: int, decodes: bool, fits: bool
    ) -> None:
        work = workload_of(REQUEST, writer._catalog.entries[0])
        plan = resident_plan("bf16")
        peak = Admission(plan, Workload(), 0).expected_peak(work)
        admission = Admission(plan, Workload(), peak + room * max(work.decode_bytes, work.kept_bytes))
        monkeypatch.setattr(writer, "on_gpu", True)
        assert writer._model is not None
        monkeypatch.setattr(writer, "_model", replace(writer._model, admission=admission))
        assert writer.decodes_beside(self.JOB, self.JOB) is decodes
        assert writer.fits_beside(self.JOB, [self.JOB]) is fits
