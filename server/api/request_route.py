"""A route whose handler takes the request and reads all of it by itself. Knows no dialect.

FastAPI derives validation and documentation from a handler's signature. A dialect does both by itself, in its own
words. So the routes of the vendors skip that analysis: it would take a third of the time of creating the application.
"""

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

RequestHandler = Callable[[Request], Awaitable[Response]]


class RequestRoute(Route):
    """A path and the methods that it answers. It stays out of the generated documentation."""

    def __init__(self, path: str, handler: RequestHandler, methods: Sequence[str]) -> None:
        super().__init__(path, handler, methods=methods, include_in_schema=False)
        self.methods = set(methods)  # without the HEAD that Starlette adds to GET, as FastAPI's routes are

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Also name the route that matches, for the metrics."""
        match, child_scope = super().matches(scope)
        return match, child_scope if match is Match.NONE else {**child_scope, "route": self}


def add_request_route(app: FastAPI, path: str, handler: RequestHandler, *methods: str) -> None:
    """Serve a path. Of several that match, the first one added answers."""
    app.router.routes.append(RequestRoute(path, handler, methods))
