import pytest

from server.api.fields.sizes import parse_ratio, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024x1536", (1024, 1536)),
        ("1024*1536", (1024, 1536)),
        (" 1024 X 1536 ", (1024, 1536)),
        ("1536*1080", (1536, 1072)),
        ("143x2048", (128, 2048)),
    ],
)
def test_a_size_goes_down_to_multiples_of_16(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "1024", "1024x", "x", "axb", "127x1024", "1024x2049", "-5x5", "1024x1024x3", "1e3x5"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size such as|must have sides of"):
        parse_size(text)


def test_a_dialect_has_bounds_of_its_own() -> None:
    assert parse_size("512x512", 512, 2048) == (512, 512)
    with pytest.raises(ValueError, match="sides of 512 to 2048 pixels"):
        parse_size("511x512", 512, 2048)


@pytest.mark.parametrize(("text", "size"), [("1:1", (1024, 1024)), ("16:9", (1360, 768)), (" 1 : 1000 ", (128, 2048))])
def test_a_ratio_has_about_an_area(text: str, size: tuple[int, int]) -> None:
    assert parse_ratio(text, 1024 * 1024) == size


@pytest.mark.parametrize("text", ["", "auto", "0:1", "1:0", "1x1", "1:1:1"])
def test_what_is_no_ratio(text: str) -> None:
    with pytest.raises(ValueError, match="is no ratio such as 16:9"):
        parse_ratio(text, 1024 * 1024)
