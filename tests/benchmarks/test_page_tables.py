import pytest

from benchmarks.page_tables import replace_between


def test_only_what_is_between_the_marks_changes() -> None:
    assert replace_between("a\n<b>\nold\n<e>\nz\n", "<b>", "<e>", "new") == "a\n<b>\nnew\n<e>\nz\n"


@pytest.mark.parametrize("page", ["", "<b>", "<e>", "<e>\n<b>"])
def test_a_page_without_the_marks(page: str) -> None:
    with pytest.raises(ValueError, match="the page has no <b> … <e>"):
        replace_between(page, "<b>", "<e>", "new")
