import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.media.fetching.web_address import PORTS, WebAddressError, join_web_address, parse_web_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://host/a.png", "host", None),
        ("HTTPS://Host.Example.:8443", "host.example.", 8443),
        ("http://host:/a", "host", None),
        ("http://host:00080/a", "host", None),
        ("http://host:65535?a:b@c", "host", 65535),
        ("http://a_b-c.example/a@b:c d?e", "a_b-c.example", None),
        ("http://127.0.0.1:1/a", "127.0.0.1", 1),
        ("http://[::1]:81/a", "::1", 81),
        ("http://b\u00fccher.example/\u00fc", "xn--bcher-kva.example", None),
        (f"http://{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}/", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}", None),
    ],
)
def test_addresses(text: str, host: str, port: int | None) -> None:
    url = parse_web_address(text)
    assert (url.raw_host.decode(), url.port) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host/a.png",
        "ftp://host/a",
        "http:/host",
        " http://host/",
        "http://",
        "http:///a",
        "http://:80/",
        "http://?a",
        "http://#a",
        "http://host:text/",
        "http://host:80:80/",
        "http://host:-1/",
        "http://host:+80/",
        "http://host:1_0/",
        "http://host: 80/",
        "http://host:\uff18\uff10/",
        f"http://host:{'9' * 5000}/",
        f"http://host/{'a' * 65_536}",
        "http://::1/",
        "http://[::1",
        "http://::1]/",
        "http://[::1]x/",
        "http://[host]/",
        "http://[]/",
        "http://[fe80::1%25eth0]/",
        f"http://{'a' * 300}/",
        f"http://{'a' * 64}.example/",
        f"http://{'.'.join(['a' * 60] * 5)}/",
        "http://a..example/",
        "http://.example/",
        "http://host../",
        "http://\u0301a.example/",
        "http://a\u200db.example/",
        "http://\ud800.example/",
        "http://host/\ud800",
        "http://ho\x00st/",
        "http://ho\tst/",
        "http://host\n/",
        "http://host/\x01",
        "http://ho st/",
        "http://host\\other/",
        "http://ho*st/",
        "http://ho%73t/",
        "http://999.1.1.1/",
        f"http://host/{'a' * 100_000}",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(WebAddressError, match=r"^is not a valid http or https address$"):
        parse_web_address(text)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_ports_that_no_host_has(port: int) -> None:
    with pytest.raises(WebAddressError, match="its port is not between 1 and 65535"):
        parse_web_address(f"http://host:{port}/")


@pytest.mark.parametrize("user", ["user:secret", "secret", ":secret", ":", "", "user:secret@user"])
@pytest.mark.parametrize("host", ["host", "[::1", "host:99999", ""])
def test_credentials_are_named_first_and_not_repeated(user: str, host: str) -> None:
    with pytest.raises(WebAddressError, match="contains a user name or password") as caught:
        parse_web_address(f"http://{user}@{host}/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "joined"),
    [
        ("/b?c", "https://host:8443/b?c"),
        ("b", "https://host:8443/a/b"),
        ("//other/b", "https://other/b"),
        ("http://other:81/", "http://other:81/"),
        ("", "https://host:8443/a/"),
    ],
)
def test_redirects(location: str, joined: str) -> None:
    assert join_web_address(httpx2.URL("https://host:8443/a/"), location) == httpx2.URL(joined)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "//host:0/", "//user@host/", "//host: 80/"])
def test_redirects_to_no_address(location: str) -> None:
    with pytest.raises(WebAddressError):
        join_web_address(httpx2.URL("https://host/"), location)


PARTS = st.lists(
    st.sampled_from([*"/:@[]%?#\\ .", "user", "80", "99999", "::1", "127.0.0.1", "a.example", "xn--a", "\ud800"])
    | st.text(st.characters(), max_size=3),
    max_size=8,
).map("".join)


@given(scheme=st.sampled_from(["http://", "https://", "HTTP://", "http:", "//", ""]), rest=PARTS)
@example("http://", "[v1.a]")
@example("http://", "[::1]:\u0661")
def test_any_text_is_an_address_or_an_error(scheme: str, rest: str) -> None:
    text = scheme + rest
    try:
        url = parse_web_address(text)
        join_web_address(url, rest)
    except WebAddressError:
        return
    assert url.scheme in ("http", "https")
    assert (url.userinfo, url.host != "") == (b"", True)
    assert url.port is None or url.port in PORTS
    assert not {"@", " ", "/", "\\"} & set(url.netloc.decode())
