import pytest
from PIL import Image, ImageDraw

from benchmarks.step_caches.ocr import Reader, contains_words, normalize_text, ocr_available


@pytest.mark.slow
def test_it_reads_without_a_network() -> None:
    assert ocr_available()
    picture = Image.new("RGB", (200, 64), "white")
    ImageDraw.Draw(picture).text((20, 10), "OPEN 24", fill="black", font_size=36)
    reader = Reader()
    assert normalize_text(reader.read(picture)) == "open24"
    assert reader.read(Image.new("RGB", (64, 64), "white")) == ""


@pytest.mark.parametrize(
    ("text", "words", "there"),
    [
        ("Fresh  BREAD daily", ("Fresh Bread",), True),
        ("清风 茶舍", ("清风茶舍",), True),
        ("ＯＰＥＮ", ("open",), True),  # full width
        ("OPFN", ("OPEN",), False),
        ("OPEN", ("OPEN", "24"), False),
        ("", ("OPEN",), False),
    ],
)
def test_words_are_compared_letter_by_letter(text: str, words: tuple[str, ...], there: bool) -> None:
    assert contains_words(text, words) is there
