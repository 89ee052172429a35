import contextlib
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from accel.cache.plan import CachePlan
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.errors import UnsafeContent
from pipelines.models.residency.options import DEFAULT_OPTIONS
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.images.open_image import OpenImage
from server.jobs.workers.messages import ImageWritten, Output, RenderJob
from server.media.metadata import embedded_text
from server.options.sharing import ALONE, Sharing
from tests.server.jobs.workers.images.test_image_writer import PNG, REQUEST, write
from tests.server.jobs.workers.loops import serve


@pytest.fixture(scope="module")
def writer(weights: Path) -> Iterator[ImageWriter]:
    """The first model of the catalogue alone, with random weights."""
    catalog = Catalog((replace(load_catalog().entries[0], weights=str(weights)),))
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS)) as writer:
        yield writer


def opened(writer: ImageWriter, job: RenderJob) -> OpenImage:
    image = writer.open(job, job.outputs)
    assert isinstance(image, OpenImage)
    image.prepare()
    return image


def ended(image: OpenImage) -> ImageWritten:
    while not image.ready:
        image.advance()
    image.decode(lambda: None)
    (written,) = image.write()
    return written


def test_an_image_and_its_receipt_are_in_the_file(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(1, tmp_path / "new" / "1.png")
    image = opened(writer, RenderJob(3, REQUEST, PNG, (output,)))
    assert (image.step, image.steps, image.ready) == (0, 2, False)
    image.advance()
    assert (image.step, image.steps, image.ready) == (1, 2, False)
    written = ended(image)
    assert (written.job_id, written.index, written.width, written.height) == (3, 1, 64, 64)
    assert (written.seed, written.warnings, written.cache, written.recompiled) == (8, (), None, 0)
    assert [phase.name for phase in written.phases] == ["prepare", "steps", "decode", "encode"]
    assert written.measured is not None
    assert written.busy is not None
    assert written.busy == pytest.approx(written.measured.step * 2 + written.measured.rest)
    assert 0 < written.busy <= written.seconds
    assert written.measured.step > 0
    assert written.sha256 == hashlib.sha256(output.path.read_bytes()).hexdigest()
    assert embedded_text(output.path) == written.receipt
    assert json.loads(written.receipt)["request"]["seed"] == 8
    with Image.open(output.path) as picture:
        assert picture.size == (64, 64)


def test_an_image_under_way_is_shown(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    image = opened(writer, RenderJob(1, REQUEST, PNG, (output,)))
    assert image.preview() is None
    image.advance()
    preview = image.preview()
    assert preview is not None
    now, seen = preview(), ended(image)
    assert Image.open(io.BytesIO(now)).size == (64, 64)
    assert preview() == now  # it shows the step at which it was asked for
    assert seen.sha256 == write(writer, RenderJob(1, REQUEST, PNG, (output,)), output).sha256


def test_a_step_that_was_reused_says_so(writer: ImageWriter, tmp_path: Path) -> None:
    output, reused = Output(0, tmp_path / "0.png"), []
    plan = CachePlan("fbcache", 1e9, start=0, end=6, max_run=9)
    image = opened(writer, RenderJob(1, replace(REQUEST, steps=6, cache=plan), PNG, (output,)))
    while not image.ready:
        image.advance()
        reused.append(image.step_reused)
    written = ended(image)
    assert written.cache is not None
    assert sum(reused) == written.cache.reused_steps > 0
    assert not reused[0]


def test_the_same_job_writes_the_same_bytes(writer: ImageWriter, tmp_path: Path) -> None:
    outputs = [Output(0, tmp_path / name) for name in ("a.png", "b.png")]
    one, other = (write(writer, RenderJob(1, REQUEST, PNG, (output,)), output) for output in outputs)
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(("image_format", "fits"), [("JPG", False), ("PNG", True)])
def test_a_receipt_that_the_format_cannot_hold_is_left_out_of_the_file(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str, fits: bool
) -> None:
    monkeypatch.setattr("server.media.metadata.JPEG_LIMIT", 100)
    output = Output(0, tmp_path / "image")
    encoding = replace(PNG, format=image_format)
    written = write(writer, RenderJob(1, REQUEST, encoding, (output,)), output)
    assert (embedded_text(output.path) is not None) == fits
    assert bool(written.warnings) != fits
    assert written.receipt


@pytest.mark.parametrize("unsafe", [True, False])
def test_an_image_is_checked_if_its_job_says_so(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    monkeypatch.setattr("pipelines.detection.content.is_unsafe", lambda _: unsafe)
    output = Output(0, tmp_path / "0.png")
    assert write(writer, RenderJob(3, REQUEST, PNG, (output,), safety="flag"), output).unsafe is unsafe
    assert write(writer, RenderJob(3, REQUEST, PNG, (output,)), output).unsafe is None


def test_an_unsafe_image_that_is_blocked_has_no_file(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.detection.content.is_unsafe", lambda _: True)
    output = Output(0, tmp_path / "0.png")
    with pytest.raises(UnsafeContent) as refused:
        write(writer, RenderJob(3, REQUEST, PNG, (output,), safety="block"), output)
    assert (refused.value.fault, refused.value.path, output.path.exists()) == ("content", "check_content", False)


def test_an_image_that_is_not_decoded_cannot_be_written(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    image = opened(writer, RenderJob(1, REQUEST, PNG, (output,)))
    with pytest.raises(ValueError, match="not decoded"):
        image.write()
    assert list(tmp_path.iterdir()) == []


def test_images_in_turns_have_their_own_seconds_and_bytes(writer: ImageWriter, tmp_path: Path) -> None:
    outputs = [Output(0, tmp_path / f"{name}.png") for name in "ab"]
    jobs = [RenderJob(1, replace(REQUEST, seed=seed), PNG, (output,)) for seed, output in enumerate(outputs)]
    alone = [write(writer, job, job.outputs[0]).sha256 for job in jobs]
    images = [opened(writer, job) for job in jobs]
    while not all(image.ready for image in images):
        for image in images:
            image.share()
            image.advance()
    found = [ended(image) for image in images]
    assert [image.sha256 for image in found] == alone
    assert found[0].busy is not None
    assert found[0].busy < found[0].seconds


@pytest.mark.slow
def test_the_embedded_model_writes_the_same_bytes_with_overlap(tmp_path: Path) -> None:
    catalog = load_catalog().with_embedded_weights()
    cached = replace(REQUEST, prompt="a red circle", steps=4, cache=CachePlan("fbcache", 0.5, 0, 4, 2))
    digests: list[dict[tuple[int, int], str]] = []
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS)) as writer:
        for sharing in (ALONE, Sharing(overlap=True)):
            folder = tmp_path / str(len(digests))
            jobs = [
                RenderJob(
                    number, request, PNG, tuple(Output(index, folder / f"{number}-{index}") for index in range(2))
                )
                for number, request in enumerate((REQUEST, cached, replace(REQUEST, seed=9, width=128)))
            ]
            replies = serve(*jobs, writer=writer, sharing=sharing)
            written = [reply for reply in replies if isinstance(reply, ImageWritten)]
            digests.append({(reply.job_id, reply.index): reply.sha256 for reply in written})
            assert any(reply.overlapped for reply in written) is sharing.overlap
    assert digests[0] == digests[1]
    assert len(digests[0]) == 6
