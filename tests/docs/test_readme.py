"""The README's order and length, and its examples run as they are printed against a real server."""

import re

import pytest

from tests.docs.pages import ROOT, blocks, text_of
from tests.live import API_KEY, LiveServer

README = ROOT / "README.md"
ORDER = ["Start", "Send a task", "Use it on a GPU", "What is not supported", "Troubleshooting", "Links"]
LONGEST, LONGEST_TABLE = 150, 10  # lines, rows


def test_it_is_short_and_in_order() -> None:
    # The table of what was measured grows with the cards.
    lines = re.sub(r"(?s)<!-- gpu -->.*?<!-- end -->\n\n", "", text_of(README)).splitlines()
    assert len(lines) <= LONGEST
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == ORDER


def test_long_tables_are_elsewhere() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", text_of(README), re.MULTILINE)
    assert all(len(table.splitlines()) - 2 <= LONGEST_TABLE for table in tables)


@pytest.mark.slow
def test_the_python_example(live: LiveServer, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(README, "python")
    code = code.replace("127.0.0.1:8000", live.url.removeprefix("http://"))
    code = code.replace('api_key="any"', f'api_key="{API_KEY}"')
    exec(code, {})
    assert len(re.findall(r"^http://\S+/image/\S+\.jpg$", capsys.readouterr().out, re.MULTILINE)) == 2
