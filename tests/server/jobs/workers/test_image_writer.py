import functools
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from accel.cache.plan import CachePlan
from accel.kernels.attention import AttentionChoice
from pipelines import generate
from pipelines.catalog.catalog import Catalog, load_catalog
from pipelines.errors import LoadError, UnsafeContent
from pipelines.models import checkpoint
from pipelines.models.residency.options import DEFAULT_OPTIONS, ModelOptions
from pipelines.render import RenderState
from pipelines.request import RenderRequest, Sampler
from server.jobs.workers import image_writer
from server.jobs.workers.image_writer import ImageWriter
from server.jobs.workers.messages import Output, RenderJob
from server.media.encode import Encoding
from server.media.metadata import embedded_text

REQUEST = RenderRequest("runware:108@1", "a", None, 64, 64, 2, Sampler(), 1.0, 7, 2)
PNG = Encoding("PNG", 95)


@pytest.fixture(scope="module")
def catalog(weights: Path) -> Catalog:
    """The first model of the catalogue alone, with random weights."""
    return Catalog((replace(load_catalog().entries[0], weights=str(weights)),))


@pytest.fixture(scope="module")
def writer(catalog: Catalog) -> ImageWriter:
    return ImageWriter("cpu", catalog, DEFAULT_OPTIONS)


def ignore(step: int, steps: int) -> None:
    """Nobody looks at the steps."""


def test_an_image_and_its_receipt_are_in_the_file(writer: ImageWriter, tmp_path: Path) -> None:
    output, seen = Output(1, tmp_path / "new" / "1.png"), []
    written = writer.write(RenderJob(3, REQUEST, PNG, (output,)), output, lambda *step: seen.append(step))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert (written.job_id, written.index, written.width, written.height) == (3, 1, 64, 64)
    assert (written.seed, written.warnings, written.cache, written.recompiled) == (8, (), None, 0)
    assert written.measured is not None
    assert 0 < written.measured.step * 2 + written.measured.rest <= written.seconds
    assert written.measured.step > 0
    assert written.sha256 == hashlib.sha256(output.path.read_bytes()).hexdigest()
    assert embedded_text(output.path) == written.receipt
    assert json.loads(written.receipt)["request"]["seed"] == 8
    with Image.open(output.path) as image:
        assert image.size == (64, 64)


def test_an_image_under_way_is_shown_and_no_other(writer: ImageWriter, tmp_path: Path) -> None:
    output, shown = Output(0, tmp_path / "0.png"), []
    seen = writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, lambda *step: shown.append(writer.preview()))
    assert shown[0] is None
    assert [Image.open(io.BytesIO(jpeg)).size for jpeg in shown[1:] if jpeg is not None] == [(64, 64)] * 2
    assert (writer.preview(), writer.step_reused) == (None, False)
    assert seen.sha256 == writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, ignore).sha256


def test_a_step_that_was_reused_says_so(writer: ImageWriter, tmp_path: Path) -> None:
    output, reused = Output(0, tmp_path / "0.png"), []
    plan = CachePlan("fbcache", 1e9, start=0, end=6, max_run=9)
    job = RenderJob(1, replace(REQUEST, steps=6, cache=plan), PNG, (output,))
    written = writer.write(job, output, lambda *step: reused.append(writer.step_reused))
    assert written.cache is not None
    assert sum(reused) == written.cache.reused_steps > 0
    assert reused[:2] == [False, False]


def test_the_same_job_writes_the_same_bytes(writer: ImageWriter, tmp_path: Path) -> None:
    outputs = [Output(0, tmp_path / name) for name in ("a.png", "b.png")]
    one, other = (writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, ignore) for output in outputs)
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(("image_format", "fits"), [("JPG", False), ("PNG", True)])
def test_a_receipt_that_the_format_cannot_hold_is_left_out_of_the_file(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str, fits: bool
) -> None:
    monkeypatch.setattr("server.media.metadata.JPEG_LIMIT", 100)
    output = Output(0, tmp_path / "image")
    encoding = Encoding("JPG" if image_format == "JPG" else "PNG", 95)
    written = writer.write(RenderJob(1, REQUEST, encoding, (output,)), output, ignore)
    assert (embedded_text(output.path) is not None) == fits
    assert bool(written.warnings) != fits
    assert written.receipt


def test_a_stopped_image_leaves_no_file(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")

    def stop(step: int, steps: int) -> None:
        if step:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, stop)
    assert list(tmp_path.iterdir()) == []


def test_the_log_says_when_other_weights_are_loaded(
    catalog: Catalog, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(image_writer.log, "info", lambda event, **values: lines.append((event, values["model"])))
    (first,) = catalog.entries
    others = tuple(replace(first, air=f"a:{n}@1", weights=path) for n, path in ((1, str(weights)), (2, f"{weights}/")))
    writer = ImageWriter("cpu", Catalog((first, *others)), DEFAULT_OPTIONS)
    output = Output(0, tmp_path / "0.png")
    loads: list[str] = []
    for air in ("a:1@1", "a:2@1", "a:2@1"):
        job = RenderJob(1, replace(REQUEST, model=air), PNG, (output,))
        writer.write(job, output, ignore, functools.partial(loads.append, air))
    assert loads == ["a:2@1"]
    assert [line for line in lines if line[0] != "engaged"] == [
        ("loading", first.air),
        ("loading", "a:2@1"),
        ("loaded", "a:2@1"),
    ]


def test_what_engaged_is_in_the_log_the_receipt_and_the_reply(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(image_writer.log, "info", lambda event, **values: lines.update({event: values}))
    writer = ImageWriter("cpu", catalog, ModelOptions(streamed_blocks=1, tables=True))
    assert re.fullmatch(
        r"transformer float32, \d\.\d MiB resident, \d\.\d MiB streamed a step, modulation from tables, "
        "text encoder float32, attention torch",
        lines["engaged"]["weights"],
    )
    assert lines["plan"]["reason"] == "A CPU keeps everything in host memory."
    output = Output(0, tmp_path / "0.png")
    written = writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, ignore)
    assert written.engaged == writer.engaged is not None
    told = json.loads(written.receipt)["engaged"]
    assert (told["tables"], told["layers"], told["attention"]) == (True, {"float32": 34}, "torch")
    assert told["formats"] == {"transformer": "folder F32", "text_encoder": "folder F32", "vae": "folder F32"}
    assert 0 < told["streamed_gib"] < told["host_gib"]


def test_the_receipt_of_plain_weights_says_nothing_more(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    written = writer.write(RenderJob(1, REQUEST, PNG, (output,)), output, ignore)
    assert written.engaged is not None
    assert written.engaged.plain
    assert "engaged" not in json.loads(written.receipt)


def test_slow_attention_is_in_the_log(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    choice = AttentionChoice(warning="cuDNN is hidden.")
    monkeypatch.setattr(checkpoint, "choose_attention", lambda device, dtype, wanted: choice)
    monkeypatch.setattr(image_writer.log, "warning", lambda event, **values: warned.append(values["reason"]))
    assert ImageWriter("cpu", catalog, DEFAULT_OPTIONS).engaged
    assert warned == ["cuDNN is hidden."]


def test_a_model_that_is_no_longer_served(writer: ImageWriter, tmp_path: Path) -> None:
    output = Output(0, tmp_path / "0.png")
    job = RenderJob(1, replace(REQUEST, model="runware:108@20"), PNG, (output,))
    with pytest.raises(LookupError, match="no longer in the catalogue"):
        writer.write(job, output, ignore)


def test_a_device_that_does_not_exist(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError, match="graphics"):
        ImageWriter("graphics", catalog, DEFAULT_OPTIONS)


def test_weights_that_are_missing(catalog: Catalog, tmp_path: Path) -> None:
    missing = Catalog((replace(catalog.entries[0], weights=str(tmp_path / "nothing")),))
    with pytest.raises(LoadError, match="nothing"):
        ImageWriter("cpu", missing, DEFAULT_OPTIONS)


def test_after_the_device_ran_out_of_memory_the_next_job_runs(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ImageWriter("cpu", catalog, DEFAULT_OPTIONS)
    outputs = [Output(0, tmp_path / f"{number}.png") for number in range(4)]
    jobs = [RenderJob(1, REQUEST, PNG, (output,)) for output in outputs]
    before = writer.write(jobs[0], outputs[0], ignore).sha256
    real, weights = generate.advance, writer._models.usage()["checkpoint"]

    def run_out(states: Sequence[RenderState]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kept: list[int] = []
    for _ in range(2):
        monkeypatch.setattr(generate, "advance", run_out)
        with pytest.raises(torch.OutOfMemoryError):
            writer.write(jobs[1], outputs[1], ignore)
        writer.free_memory()
        kept.append(writer._models.usage()["checkpoint"])
        assert not writer._models.usage()["embedding"]
    monkeypatch.setattr(generate, "advance", real)
    assert kept == [weights, 0]  # the second time in a row the weights go too
    assert [writer.write(jobs[n], outputs[n], ignore).sha256 for n in (2, 3)] == [before, before]
    assert not outputs[1].path.exists()


@pytest.mark.parametrize("unsafe", [True, False])
def test_an_image_is_checked_if_its_job_says_so(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    monkeypatch.setattr("pipelines.detection.content.is_unsafe", lambda _: unsafe)
    output = Output(0, tmp_path / "0.png")
    assert writer.write(RenderJob(3, REQUEST, PNG, (output,), safety="flag"), output, ignore).unsafe is unsafe
    assert writer.write(RenderJob(3, REQUEST, PNG, (output,)), output, ignore).unsafe is None


def test_an_unsafe_image_that_is_blocked_has_no_file(
    writer: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.detection.content.is_unsafe", lambda _: True)
    output = Output(0, tmp_path / "0.png")
    with pytest.raises(UnsafeContent) as refused:
        writer.write(RenderJob(3, REQUEST, PNG, (output,), safety="block"), output, ignore)
    assert (refused.value.fault, refused.value.path, output.path.exists()) == ("content", "check_content", False)
