from benchmarks.step_caches.reports.cells import ordered, psnr, reused
from benchmarks.step_caches.reports.summary import Row, Spread, group_measurements
from benchmarks.step_caches.results import PSNR_OF_EQUALS
from tests.rows import measurement


def rows() -> dict[str, Row]:
    results = [
        measurement("again", kind="uncached", speedup=1.01),
        measurement("fast", speedup=2.345),
        measurement("10 steps", kind="fewer_steps", speedup=1.9, executed=10),
    ]
    return {row.name: row for row in group_measurements(results)[0].rows}


def test_rows_are_ordered_by_speed_and_the_floors_come_last() -> None:
    assert [row.name for row in ordered(list(rows().values()))] == ["10 steps", "fast", "again"]


def test_only_caches_reuse_steps() -> None:
    assert {name: reused(row) for name, row in rows().items()} == {"again": "–", "fast": "4 of 20", "10 steps": "–"}


def test_equal_images_have_no_psnr() -> None:
    assert psnr(Spread(PSNR_OF_EQUALS, PSNR_OF_EQUALS)) == "equal"
    assert psnr(Spread(PSNR_OF_EQUALS, 31.26)) == "equal (31.3)"
