from benchmarks.step_caches.cells import ordered, psnr, reused
from benchmarks.step_caches.results import PSNR_OF_EQUALS
from benchmarks.step_caches.summary import Row, Spread, groups_of
from tests.rows import result


def rows() -> dict[str, Row]:
    results = [
        result("again", kind="uncached", speedup=1.01),
        result("fast", speedup=2.345),
        result("10 steps", kind="fewer_steps", speedup=1.9, executed=10),
    ]
    return {row.name: row for row in groups_of(results)[0].rows}


def test_rows_are_ordered_by_speed_and_the_floors_come_last() -> None:
    assert [row.name for row in ordered(list(rows().values()))] == ["10 steps", "fast", "again"]


def test_only_caches_reuse_steps() -> None:
    assert {name: reused(row) for name, row in rows().items()} == {"again": "–", "fast": "4 of 20", "10 steps": "–"}


def test_equal_images_have_no_psnr() -> None:
    assert psnr(Spread(PSNR_OF_EQUALS, PSNR_OF_EQUALS)) == "equal"
    assert psnr(Spread(PSNR_OF_EQUALS, 31.26)) == "equal (31.3)"
