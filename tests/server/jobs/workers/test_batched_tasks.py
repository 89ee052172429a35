"""The loop of a worker that advances images of several tasks in one pass."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch

from pipelines.batching import BatchGain, BatchGains, write_gains
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.errors import ResultError
from pipelines.image_render import ImageRender
from pipelines.models.residency.options import DEFAULT_OPTIONS
from pipelines.receipt import read_receipt
from pipelines.request import Reference, RenderRequest, Sampler
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Loading,
    Output,
    Progress,
    RenderJob,
)
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeImage, FakeWriter, picture
from tests.server.jobs.workers.images.test_image_writer import PNG, REQUEST
from tests.server.jobs.workers.loops import OVERLAP, TURNS, Loop, OutOfMemoryError, both, fails, make_job, serve


def jobs(folder: Path, *steps: int, owners: str = "", images: int = 1) -> list[RenderJob]:
    made = [make_job(folder, number, images, count) for number, count in enumerate(steps, 1)]
    return [replace(job, owner=owner) for job, owner in zip(made, owners or "a" * len(made), strict=True)]


def writer(joined: int, *, on_gpu: bool = False) -> FakeWriter:
    made = FakeWriter(on_gpu=on_gpu)
    made.joined = joined
    return made


def steps(replies: list[Any]) -> list[int]:
    return [reply.job_id for reply in replies if isinstance(reply, Progress)]


def finished(replies: list[Any]) -> set[int]:
    return {reply.job_id for reply in replies if isinstance(reply, Finished)}


@both
def test_tasks_of_a_key_have_their_steps_together(tmp_path: Path, sharing: Sharing) -> None:
    fake = writer(4)
    replies = serve(*jobs(tmp_path, 3, 3, 3), writer=fake, sharing=sharing)
    assert fake.batches == [[1, 2, 3]] * 3
    assert steps(replies) == [1, 2, 3] * 3
    assert finished(replies) == {1, 2, 3}
    assert len([reply for reply in replies if isinstance(reply, ImageWritten)]) == 3


def test_a_task_joins_at_its_first_step_and_leaves_after_its_last_one(tmp_path: Path) -> None:
    fake = writer(4)
    long, short = jobs(tmp_path, 6, 2)
    loop = Loop(long, writer=fake)

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id, image.step) == ("advance", 1, 1):
            loop.inbox._script.append(short)

    fake.before = before
    assert steps(loop.run()) == [1, 1, 1, 2, 1, 2, 1, 1]
    assert fake.batches == [[1, 2]] * 2


@pytest.mark.parametrize("on_gpu", [True, False])
def test_tasks_of_several_keys(tmp_path: Path, on_gpu: bool) -> None:
    fake = writer(2, on_gpu=on_gpu)
    replies = serve(*jobs(tmp_path, 4, 4, 4, owners="abc"), writer=fake, sharing=TURNS)
    assert finished(replies) == {1, 2, 3}
    assert {len(batch) for batch in fake.batches} == {2}
    assert sorted(steps(replies)[:6]) == [1, 1, 2, 2, 3, 3]  # the two of a batch have one turn, and the third the other


def test_keys_take_turns_where_not_all_fit(tmp_path: Path) -> None:
    fake = writer(2)
    several = jobs(tmp_path, 6, 6, 6, owners="aab")
    narrow = replace(several[2], request=replace(several[2].request, width=64))
    replies = serve(*several[:2], narrow, writer=fake, sharing=Sharing(renders=2))
    assert fake.batches == [[1, 2]] * 6
    assert steps(replies)[:6].count(3) >= 2  # the batch of one key, and the task of the other one


def test_a_task_of_low_priority_is_in_no_batch_with_others(tmp_path: Path) -> None:
    fake = writer(4)
    first, second, third = jobs(tmp_path, 2, 2, 2)
    replies = serve(replace(first, low=True), second, replace(third, low=True), writer=fake)
    assert steps(replies) == [2, 2, 1, 3, 1, 3]
    assert fake.batches == [[1, 3]] * 2


def test_images_of_a_task_and_of_others(tmp_path: Path) -> None:
    fake = writer(4)
    fake.together = 2
    two, one, more = *jobs(tmp_path, 2, images=2), *jobs(tmp_path, 0, 2, 2)[1:]
    replies = serve(two, one, more, writer=fake)
    assert fake.batches == [[1, 2, 3]] * 2
    assert [reply.together for reply in replies if isinstance(reply, Progress)] == [2, 1, 1, 2, 1, 1]
    assert finished(replies) == {1, 2, 3}


def test_a_cancel_ends_one_of_them(tmp_path: Path) -> None:
    fake = writer(4)
    loop = Loop(*jobs(tmp_path, 4, 4), writer=fake)

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id, image.step) == ("advance", 2, 1):
            loop.inbox._script.append(Cancel(1))

    fake.before = before
    replies = loop.run()
    assert Cancelled(1) in replies
    assert steps(replies) == [1, 2, 1, 2, 2, 2]
    assert replies[-1] == Finished(2)


@pytest.mark.parametrize("where", ["advance", "decode", "write"])
@both
def test_an_error_ends_one_of_them(tmp_path: Path, where: str, sharing: Sharing) -> None:
    fake = writer(4)
    fake.before = fails(where, ResultError("why"))
    replies = serve(*jobs(tmp_path, 3, 3), writer=fake, sharing=sharing)
    assert [reply.job_id for reply in replies if isinstance(reply, Failed)] == [1]
    assert steps(replies).count(2) == 3
    assert finished(replies) == {2}


def test_an_image_that_runs_out_of_memory_beside_others_begins_again_alone(tmp_path: Path) -> None:
    fake = writer(4)
    fake.before = fails("advance", OutOfMemoryError("full"), times=1)
    replies = serve(*jobs(tmp_path, 2, 2), writer=fake)
    assert steps(replies) == [2, 2, 1, 1]
    assert (finished(replies), fake.freed) == ({1, 2}, 0)


@pytest.mark.parametrize(
    ("error", "batches", "expected"),
    [
        (OutOfMemoryError("full"), [[1, 2]] * 3, [1, 1, 2, 1, 2, 3, 2, 3, 3]),
        (ValueError("why"), [], [1, 1, 1, 2, 2, 2, 3, 3, 3]),
    ],
    ids=["memory", "another error"],
)
def test_a_batch_that_fails_is_split_and_the_log_says_so(
    tmp_path: Path, error: Exception, batches: list[list[int]], expected: list[int]
) -> None:
    fake = writer(3)
    fake.before = fails("evaluate", error, times=1)
    with structlog.testing.capture_logs() as lines:
        replies = serve(*jobs(tmp_path, 3, 3, 3), writer=fake)
    assert [line["tasks"] for line in lines if "split" in line["event"]] == [["1", "2", "3"]]
    assert finished(replies) == {1, 2, 3}
    assert max(map(len, fake.batches), default=0) == max(map(len, batches), default=0)
    assert sorted(steps(replies)) == sorted(expected)


def test_blocks_that_are_compiled_for_a_batch_are_told_as_loading(tmp_path: Path) -> None:
    fake = writer(4)
    fake.compiles_once = True
    replies = serve(*jobs(tmp_path, 2, 2), writer=fake)
    assert replies[:4] == [Loading(1), Loading(2), Progress(1, 0, 1, 2), Progress(2, 0, 1, 2)]
    assert finished(replies) == {1, 2}
    assert sum(isinstance(reply, Loading) for reply in replies) == 2


@pytest.fixture(scope="module")
def catalog(weights: Path) -> Catalog:
    """A model that draws from text, and one that edits, with random weights."""
    drawn, edited, *_ = load_catalog().entries
    assert (drawn.mode, edited.mode) == ("text_to_image", "edit")
    edited = replace(edited, weights=str(weights), reference_area=64 * 64, condition_area=64 * 64)
    return Catalog((replace(drawn, weights=str(weights)), edited))


@pytest.fixture(scope="module")
def measured(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageWriter]:
    """A writer on whose device batches of several tasks pay."""
    path = tmp_path_factory.mktemp("data") / "batching.json"
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS)) as plain:
        device = plain.description
    gains = [
        BatchGain(entry.air, 64, 64, images, 1.0, 0.0, joined=2.0, references=entry.mode == "edit")
        for entry in catalog.entries
        for images in (2, 3, 4)
    ]
    write_gains(path, BatchGains(device, str(torch.__version__), tuple(gains)))
    with contextlib.closing(ImageWriter("cpu", catalog, DEFAULT_OPTIONS, path)) as writer:
        yield writer


def test_the_receipt_says_so_where_the_rounding_may_differ(
    measured: ImageWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageRender, "rounds_batches", True)

    def batched(*seeds: int) -> list[int | None]:
        made = [
            RenderJob(seed, replace(REQUEST, seed=seed), PNG, (Output(0, tmp_path / f"{seed}.png"),)) for seed in seeds
        ]
        replies = serve(*made, writer=measured)
        return [read_receipt(reply.receipt).batched for reply in replies if isinstance(reply, ImageWritten)]

    assert batched(1) == [None]
    assert batched(1, 2, 3) == [3, 3, 3]


@pytest.mark.parametrize(
    ("edits", "sharing"),
    [(False, OVERLAP), (True, OVERLAP), (True, ALONE)],
    ids=["text to image, overlap", "edits, overlap", "edits, one after the other"],
)
def test_the_bytes_are_those_of_each_task_alone(
    measured: ImageWriter, catalog: Catalog, tmp_path: Path, edits: bool, sharing: Sharing
) -> None:
    (tmp_path / "reference.png").write_bytes(picture(64, 64))
    request = replace(
        REQUEST,
        model=catalog.entries[edits].air,
        true_cfg_scale=3.0,
        references=(Reference(tmp_path / "reference.png", "", 64, 64),) if edits else (),
    )
    requests = [
        replace(request, seed=1, steps=4),
        replace(request, seed=2, prompt="a longer prompt of another client", sampler=Sampler("euler_a")),
        replace(request, seed=3, sampler=Sampler("dpmpp_sde", "karras"), steps=3),
        replace(request, seed=4, negative_prompt="blurry", sampler=Sampler("heun")),
    ]

    def written(folder: str, *each: RenderRequest) -> list[ImageWritten]:
        made = [
            RenderJob(number, one, PNG, (Output(0, tmp_path / folder / f"{one.seed}.png"),), owner=str(number % 2))
            for number, one in enumerate(each, 1)
        ]
        replies = serve(*made, writer=measured, sharing=sharing)
        found = {reply.job_id: reply for reply in replies if isinstance(reply, ImageWritten)}
        return [found[job.job_id] for job in made]

    alone = [written("alone", each)[0] for each in requests]
    together = written("together", *requests)
    assert [image.sha256 for image in together] == [image.sha256 for image in alone]
    assert [image.receipt for image in together] == [image.receipt for image in alone]
    assert [image.together for image in alone] == [1] * 4
    assert [image.together for image in together] == [4] * 4
    for image in together:
        assert image.busy is not None
        assert image.measured is not None
        assert image.busy < image.seconds  # without the parts of the others
