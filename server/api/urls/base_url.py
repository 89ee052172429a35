"""The server's address, as a client reached it. Image URLs start with it.

Proxies are believed about scheme and host, because the worst a lying client gets is a wrong URL to its own image.
"""

from starlette.requests import HTTPConnection


def base_url(connection: HTTPConnection, public_url: str | None) -> str:
    """Scheme and host without a trailing slash, such as `http://box:8000`."""
    if public_url is not None:
        return public_url
    headers = connection.headers
    secure = connection.url.scheme in ("https", "wss")
    scheme = _first(headers.get("x-forwarded-proto")) or ("https" if secure else "http")
    scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
    host = _first(headers.get("x-forwarded-host")) or headers.get("host") or connection.url.netloc
    return f"{scheme}://{host}"


def _first(value: str | None) -> str:
    """The entry of the proxy nearest to the client."""
    return value.split(",")[0].strip() if value else ""
