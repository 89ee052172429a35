"""Lets parameters without effect pass with a warning, if the server is set to.

A client of the vendor's service then needs no change.
"""

from collections.abc import Collection, Iterable

from server.api.runware.check.rules import without_effect
from server.api.runware.check.sent_names import as_sent
from server.api.runware.schema.tasks import WireTask
from server.errors import ApiError, UnsupportedParameter


def let_pass(
    task: WireTask, raw: WireTask, errors: Iterable[ApiError], names: Collection[str]
) -> tuple[WireTask, list[ApiError], list[str]]:
    """Remove the parameters without effect from a normalized task. `names` are those of this kind of task.

    Returns the task, the remaining errors, and a warning for each parameter, with its name in the raw task.
    """
    given: dict[str, object] = {name: task.get(name) for name in names if name != "safety"}
    if "safety" in names:
        safety = task.get("safety")
        checks = safety if isinstance(safety, dict) else {}
        given["safety.checkContent"] = checks.get("checkContent")
        given["safety.mode"] = checks.get("mode") not in (None, "none")
    left: list[ApiError] = []
    passed: list[ApiError] = list(without_effect(given))
    for error in errors:
        (passed if isinstance(error, UnsupportedParameter) else left).append(error)
    kept = {name: value for name, value in task.items() if name not in names}
    return kept, left, [f"'{error.parameter}' is ignored: it has no effect here." for error in as_sent(passed, raw)]
