import pytest
from pydantic import TypeAdapter

from accel.cache.report import CacheReport, Decision


def test_it_counts_steps_and_forwards() -> None:
    decisions = (
        Decision(0, 0, "cond", "first"),
        Decision(0, 0, "uncond", "first"),
        Decision(1, 0, "cond", "reuse", 0.1, 0.1),
        Decision(1, 0, "uncond", "threshold", 0.3, 0.3),
        Decision(2, 0, "cond", "reuse", 0.1, 0.1),
        Decision(2, 0, "uncond", "reuse", 0.1, 0.1),
    )
    report = CacheReport("fbcache", decisions, blocks_run=33, blocks_skipped=27, seconds=3.3)
    assert (report.steps, report.reused_steps, report.reused_forwards) == (3, 1, 3)
    assert report.patterns == {"cond": "CRR", "uncond": "CCR"}
    assert report.seconds_saved == pytest.approx(2.7)


def test_a_report_of_no_steps_has_saved_nothing() -> None:
    report = CacheReport("fbcache", (), 0, 0, 0.0)
    assert (report.steps, report.reused_steps, report.seconds_saved, report.patterns) == (0, 0, 0.0, {})


def test_the_keys_of_a_stored_report() -> None:
    text = (
        '{"strategy":"fbcache","decisions":[{"step":0,"evaluation":0,"branch":"cond","reason":"first","distance":null,'
        '"score":null}],"blocks_run":4,"blocks_left_out":2,"seconds":1.5}'
    )
    adapter = TypeAdapter(CacheReport)
    report = adapter.validate_json(text)
    assert report.blocks_skipped == 2
    assert adapter.dump_json(report).decode() == text
