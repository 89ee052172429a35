from accel.cache.report import CacheReport, Decision
from server.api.cache_reports import cache_json

DECISIONS = (Decision(0, 0, "cond", "first"), Decision(1, 0, "cond", "reuse", 0.1, 0.2))


def test_a_report_as_json() -> None:
    report = CacheReport("fbcache", DECISIONS, blocks_run=6, blocks_skipped=3, seconds=1.2)
    found = cache_json(report)
    assert (found["cache"], found["steps"], found["reusedSteps"], found["reusedForwards"]) == ("fbcache", 2, 1, 1)
    assert found["secondsSaved"] == round(report.seconds_saved, 3)
    computed, reused = found["forwards"]
    assert computed == {
        "step": 0,
        "branch": "cond",
        "reused": False,
        "reason": "first",
        "distance": None,
        "score": None,
    }
    assert (reused["reused"], reused["reason"], reused["distance"], reused["score"]) == (True, "reuse", 0.1, 0.2)
