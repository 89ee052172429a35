"""A step cache's report as JSON: in receipts, and in the details of a task.

Never in a result item, because one client rejects unknown keys there.
"""

from typing import Any

from accel.cache.report import CacheReport


def cache_json(report: CacheReport) -> dict[str, Any]:
    """The report of a step cache on one image, as JSON."""
    return {
        "cache": report.strategy,
        "steps": report.steps,
        "reusedSteps": report.reused_steps,
        "reusedForwards": report.reused_forwards,
        "secondsSaved": round(report.seconds_saved, 3),
        "forwards": [
            {
                "step": decision.step,
                "branch": decision.branch,
                "reused": decision.reused,
                "reason": decision.reason,
                "distance": decision.distance,
                "score": decision.score,
            }
            for decision in report.decisions
        ],
    }
