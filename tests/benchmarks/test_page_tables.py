from pathlib import Path

import pytest

from benchmarks.page_tables import replace_between, rewrite_page
from benchmarks.runs.records import append_line


def test_only_what_is_between_the_marks_changes() -> None:
    assert replace_between("a\n<b>\nold\n<e>\nz\n", "<b>", "<e>", "new") == "a\n<b>\nnew\n<e>\nz\n"


@pytest.mark.parametrize("page", ["", "<b>", "<e>", "<e>\n<b>"])
def test_a_page_without_the_marks(page: str) -> None:
    with pytest.raises(ValueError, match="the page has no <b> … <e>"):
        replace_between(page, "<b>", "<e>", "new")


def test_a_page_is_written_anew_from_all_lines_of_a_file(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "lines.jsonl"
    page.write_text("²\n", encoding="utf-8")
    for number in (1, 2):
        append_line(results, {"number": number})
    rewrite_page(page, results, lambda old, lines: old + str([line["number"] for line in lines]))
    assert page.read_text(encoding="utf-8") == "²\n[1, 2]"
