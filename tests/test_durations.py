import sys
from pathlib import Path

import pytest

from tests import durations
from tests.durations import BEGIN, END, main

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.server.api.test_a.TestB" name="test_c[1]" time="2.25"/>
<testcase classname="tests.server.api.test_a.TestB" name="test_c[2]" time="1.5"/>
<testcase classname="tests.accel.test_d" name="test_e" time="0.5"/>
<testcase classname="tests.test_wheel" name="test_f" time="30"/>
</testsuite></testsuites>"""
PAGE = f"""before
{BEGIN}
| part | tests | seconds |
|---|---|---|
| accel | 1 | 0 |
| layers, twins, wheel, image | 1 | 30 |
| server | 2 | 4 |
| all | 4 | 34 |

| the longest tests | times | seconds |
|---|---|---|
| `test_f` in `tests/test_wheel.py` | 1 | 30 |
| `test_c` in `tests/server/api/test_a.py` | 2 | 4 |
{END}
after
"""


def test_the_tables_are_written_between_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    junit, page = tmp_path / "tests.xml", tmp_path / "page.md"
    junit.write_text(JUNIT)
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(durations, "LONGEST", 2)
    monkeypatch.setattr(sys, "argv", ["durations", "--junit", str(junit), "--page", str(page)])
    main()
    assert page.read_text() == PAGE
