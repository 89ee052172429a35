from pathlib import PurePosixPath

from ownware.batch.item import BatchError, Interrupted, Item, ItemError


def test_an_item_lies_at_the_top_of_the_folder_unless_it_says_otherwise() -> None:
    assert Item("a.png", "a").folder / "a.png" == PurePosixPath("a.png")


def test_what_ends_a_batch_is_not_taken_for_the_failure_of_one_picture() -> None:
    assert not any(issubclass(kind, ItemError) for kind in (BatchError, Interrupted))
