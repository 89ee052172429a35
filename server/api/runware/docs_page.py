"""`GET /docs`: sends each example of "Try it out" with a fresh taskUUID.

A task UUID can be used once. An example with a fixed one would work only once.
"""

import json
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

# Only the examples' own ids are replaced. getResponse asks for the task that was sent last from its example.
_SCRIPT = """
const exampleIds = %s, sentIds = {};
const freshId = () => "10000000-1000-4000-8000-100000000000".replace(/[018]/g, digit =>
  (digit ^ crypto.getRandomValues(new Uint8Array(1))[0] & 15 >> digit / 4).toString(16));
function withFreshIds(request) {
  let tasks;
  try { tasks = JSON.parse(request.body); } catch { return request; }
  if (!Array.isArray(tasks)) return request;
  for (const task of tasks) {
    const id = task?.taskUUID;
    if (!exampleIds.includes(id)) continue;
    task.taskUUID = task.taskType === "getResponse" ? sentIds[id] ?? id : sentIds[id] = freshId();
  }
  request.body = JSON.stringify(tasks, null, 2);
  return request;
}
"""
_BUNDLE = "SwaggerUIBundle({"


def install_fresh_ids(app: FastAPI, examples: Iterable[list[dict[str, Any]]]) -> None:
    """Make the page replace the ids of the examples each time it sends one."""
    ids = sorted({task["taskUUID"] for tasks in examples for task in tasks})
    script = _SCRIPT % json.dumps(ids)
    page = next(route for route in app.routes if getattr(route, "path", None) == "/docs")
    app.routes.remove(page)

    async def docs(request: Request) -> HTMLResponse:
        response = await page.endpoint(request)  # type: ignore[attr-defined]  # FastAPI's own page
        before, bundle, after = response.body.decode().rpartition(_BUNDLE)
        head, constant, tail = before.rpartition("const ui")
        return HTMLResponse(f"{head}{script}{constant}{tail}{bundle}requestInterceptor: withFreshIds,\n{after}")

    app.add_route("/docs", docs, include_in_schema=False)
