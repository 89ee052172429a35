"""`GET /` for browsers, and `GET /page/…`: the files of the web page. Knows no task and no key.

Programs that ask `/` for something else than HTML are sent to `/docs`, and so is everybody without the page.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from server.api.page.static_files import StaticFile, StaticFiles
from server.errors import NotFound

# No address outside, no script or style within the document, and no text that becomes markup.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_ASK_AGAIN, _FOR_EVER = "no-cache", "public, max-age=31536000, immutable"


def router(page: StaticFiles | None) -> APIRouter:
    """The routes of the page. Without one, `/` leads to the API's documentation for everybody."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def start(request: Request) -> Response:
        if page is None or "text/html" not in request.headers.get("accept", ""):
            return RedirectResponse("/docs", headers={"Vary": "Accept"})
        response = _response(request, page.index, _ASK_AGAIN)
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return response

    @routes.get("/page/{release}/{name:path}")
    async def file(release: str, name: str, request: Request) -> Response:
        found = page.files.get(name) if page is not None and release == page.release else None
        if found is None:
            raise NotFound(f"Nothing is at {request.url.path}. The page is at /.")
        return _response(request, found, _FOR_EVER)

    return routes


def _response(request: Request, file: StaticFile, caching: str) -> Response:
    """A file, in gzip for those who read that. Nothing for those who have it."""
    headers = {**_SAFE, "ETag": file.etag, "Cache-Control": caching, "Vary": "Accept, Accept-Encoding"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.zipped, media_type=file.mime, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.mime, headers=headers)
