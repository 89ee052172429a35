from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.models.checkpoint import Checkpoint
from training.samples.drafts import Draft, DraftOrder, DraftWorkers, Task, default_processes, make_draft

ORDERS = [DraftOrder(0, "crowded", (8, 8), 4), DraftOrder(1, "edit", (6, 10), 3), DraftOrder(2, "combine", (8, 8), 2)]


def equal(one: Draft, other: Draft) -> bool:
    arrays = [(*astuple(draft.targets), draft.prompts.ids, draft.degraded) for draft in (one, other)]
    return all(np.array_equal(mine, its) for mine, its in zip(*arrays, strict=True))


def test_a_draft_depends_on_seed_and_number_alone(trained: Checkpoint) -> None:
    first, again, other = (make_draft(ORDERS[0], seed, trained.tokenizer) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)


@pytest.mark.parametrize("task", ["letters", "pairs", "words"])
def test_lengths_of_prompts_are_rounded_up(trained: Checkpoint, task: Task) -> None:
    draft = make_draft(DraftOrder(5, task, (8, 8), 6), 0, trained.tokenizer)
    assert draft.prompts.ids.shape[1] % 16 == 0
    assert draft.prompts.ids.shape[1] - draft.prompts.lengths.max() < 16
    assert draft.targets.letters.any()


@pytest.mark.parametrize("task", ["pairs", "words", "crowded"])
def test_texts_are_of_the_kind_that_is_ordered(trained: Checkpoint, task: Task) -> None:
    draft = make_draft(DraftOrder(5, task, (8, 8), 20, "capitals"), 0, trained.tokenizer)
    assert 2 < draft.targets.letters.max() <= 26


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
def test_processes_make_the_same_drafts(trained: Checkpoint) -> None:
    workers = DraftWorkers(EMBEDDED_FOLDER, 7, processes=1)
    try:
        drafts = list(workers.drafts(iter(ORDERS)))
    finally:
        workers.close()
    assert all(
        equal(draft, make_draft(order, 7, trained.tokenizer)) for draft, order in zip(drafts, ORDERS, strict=True)
    )


def test_without_processes_too(trained: Checkpoint) -> None:
    (draft,) = DraftWorkers(Path(EMBEDDED_FOLDER), 7, processes=0).drafts(iter(ORDERS[:1]))
    assert equal(draft, make_draft(ORDERS[0], 7, trained.tokenizer))
    assert default_processes("cpu") == 0 < default_processes("cuda")
