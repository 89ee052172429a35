"""The tables of cards are the plan's answers of today."""

import pytest

from docs.figures.cards import PAGE, README, TABLES, Table, readme_table, rewrite, rewrite_readme, tables
from tests.docs.pages import text_of


@pytest.mark.parametrize(("table", "shown"), [pytest.param(*each, id=each[0].name) for each in tables(text_of(PAGE))])
def test_a_table_is_what_the_plan_says(table: Table, shown: str) -> None:
    assert shown == table.text(), "run `python -m docs.figures.cards`"


@pytest.mark.slow
def test_a_page_is_written_anew_from_any_state() -> None:
    page = text_of(PAGE)
    empty = "".join(f"<!-- plan: {table.name} -->\n\n<!-- end -->\n" for table in TABLES)
    assert rewrite(page) == page
    assert rewrite(rewrite(empty)) == rewrite(empty) != empty


def test_the_table_of_the_readme_is_what_the_plan_says() -> None:
    page = text_of(README)
    assert readme_table() in page, "run `python -m docs.figures.cards`"
    assert rewrite_readme(page) == page
    assert rewrite_readme("before\n\n| card | a |\n|---|---|\n| b | c |\n\nafter\n") == (
        f"before\n\n{readme_table()}\n\nafter\n"
    )
    assert "**This is computed, not measured**" in page


def test_the_page_says_that_nothing_is_measured() -> None:
    assert "**All numbers are computed, not measured.**" in text_of(PAGE)
