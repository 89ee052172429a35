import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.kernels.compiled_block import CompiledBlocks
from pipelines.batching import BatchGain, BatchGains, write_gains
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission
from pipelines.models.planning.entries import workload_of
from pipelines.models.planning.workload import Workload
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions
from server.jobs.workers.images import image_writer
from server.jobs.workers.images.image_group import ImageGroup
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.messages import Output, RenderJob
from tests.server.jobs.workers.images.test_image_writer import PNG, REQUEST, write

GAIN = BatchGain(REQUEST.model, 64, 64, 3, 2.0, 0.0, joined=1.5)


@pytest.fixture(scope="module")
def catalog(weights: Path) -> Catalog:
    return Catalog((replace(load_catalog().entries[0], weights=str(weights)),))


@pytest.fixture(scope="module")
def resident(catalog: Catalog) -> Iterator[ImageWriter]:
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS)) as writer:
        yield writer


@pytest.fixture(scope="module")
def streamed(catalog: Catalog) -> Iterator[ImageWriter]:
    with contextlib.closing(ImageWriter("cpu", catalog, ModelOptions(streamed_blocks=1, tables=True))) as writer:
        yield writer


@pytest.mark.parametrize(
    ("blocks", "solver"), [("resident", "euler"), ("resident", "dpmpp_2m"), ("resident", "heun"), ("streamed", "heun")]
)
def test_images_together_have_the_bytes_of_each_alone(
    resident: ImageWriter, streamed: ImageWriter, tmp_path: Path, blocks: str, solver: str
) -> None:
    writer = resident if blocks == "resident" else streamed
    request = replace(REQUEST, count=3, true_cfg_scale=4.0, sampler=replace(REQUEST.sampler, solver=solver))
    outputs = tuple(Output(index, tmp_path / f"{index}.png") for index in range(3))
    job = RenderJob(1, request, PNG, outputs)
    alone = [write(writer, job, output).sha256 for output in outputs]
    group = writer.open(job, outputs)
    assert isinstance(group, ImageGroup)
    group.prepare()
    assert (group.step, group.steps, group.ready, group.preview()) == (0, 2, False, None)
    while not group.ready:
        group.advance()
        assert not group.step_reused
    assert group.preview() is not None
    group.decode(lambda: None)
    written = group.write()
    assert [image.sha256 for image in written] == alone
    assert [(image.index, image.seed) for image in written] == [(0, 7), (1, 8), (2, 9)]
    assert all(image.measured is not None and image.measured.step > 0 for image in written)


def test_images_together_have_a_compiled_graph_where_their_tokens_are_one_batch(
    resident: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tuple(Output(index, tmp_path / f"{index}.png") for index in range(2))
    job = RenderJob(1, replace(REQUEST, true_cfg_scale=3.0), PNG, outputs)

    model = resident._model
    assert model is not None
    monkeypatch.setattr(resident, "_model", model)  # it is put back at the end

    def opened(**changes: Any) -> ImageGroup:
        changed = replace(model, checkpoint=replace(model.checkpoint, **changes))
        monkeypatch.setattr(resident._models, "get", lambda entry: changed)
        group = resident.open(job, outputs)
        assert isinstance(group, ImageGroup)
        group.prepare()
        return group

    blocks = CompiledBlocks("eager")
    assert not resident.compiles([opened()])
    assert not resident.compiles([opened(compiled=blocks)])  # each branch of each image runs through the same graph
    group = opened(compiled=blocks, batch_branches=True)
    assert [resident.compiles([group]) for _ in range(2)] == [True, False]
    assert resident.compiles([group, opened(compiled=blocks, batch_branches=True)])
    group.images[0].render.state.step = 1
    assert resident.compiles([group])  # at two steps


@pytest.mark.parametrize(("device", "images"), [(None, 3), ("another device", 1)])
def test_a_writer_uses_what_was_measured_on_its_device(
    catalog: Catalog, resident: ImageWriter, tmp_path: Path, device: str | None, images: int
) -> None:
    path = tmp_path / "batching.json"
    write_gains(path, BatchGains(device or resident.description, str(torch.__version__), (GAIN,)))
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS, path)) as measured:
        assert measured.images_together(RenderJob(1, REQUEST, PNG, ())) == images
        assert measured.tasks_together(RenderJob(1, REQUEST, PNG, ())) == images
        assert measured.tasks_together(RenderJob(1, REQUEST, PNG, ()), 2) == 1
    assert resident.images_together(RenderJob(1, REQUEST, PNG, ())) == 1


def test_a_batch_is_as_large_as_the_memory(
    catalog: Catalog, resident: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "batching.json"
    write_gains(path, BatchGains(resident.description, str(torch.__version__), (GAIN,)))
    work, plan = workload_of(REQUEST, catalog.entries[0]), resident_plan("bf16")
    two = Admission(plan, Workload(), 0).expected_peak(replace(work, results=2))
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS, path)) as small:
        assert small._model is not None
        admission = Admission(plan, Workload(), two)
        monkeypatch.setattr(small, "_model", replace(small._model, admission=admission))
        assert small.images_together(RenderJob(1, REQUEST, PNG, ())) == 2
        assert small.tasks_together(RenderJob(1, REQUEST, PNG, ())) == 1  # two of several tasks were not measured


def test_a_broken_file_is_told_and_not_used(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(image_writer.log, "warning", lambda event, **values: told.append(event))
    path = tmp_path / "batching.json"
    path.write_text("{")
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS, path)) as writer:
        assert writer.images_together(RenderJob(1, REQUEST, PNG, ())) == 1
    assert told == ["no images are advanced together"]
