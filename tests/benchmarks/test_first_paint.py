from benchmarks.first_paint import BEGIN, END, summary, with_table


def test_a_line_has_the_median_and_the_longest() -> None:
    line = summary([(10.04, 5), (30.0, 7), (20.0, 6)], "make")
    assert line == {"benchmark": "first_paint", "view": "make", "loads": 3, "median": 20.0, "max": 30.0, "bytes": 7}


def test_the_table_has_the_latest_line_of_each_view() -> None:
    lines = [summary([(paint, 90_400)], view) for paint, view in ((10, "make"), (20, "gallery"), (30, "make"))]
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb", lines) == (
        f"a\n{BEGIN}\n| view | median, ms | longest, ms | kB sent |\n|---|---|---|---|\n"
        f"| make | 30 | 30 | 90 |\n| gallery | 20 | 20 | 90 |\n{END}\nb"
    )
