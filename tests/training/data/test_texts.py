import numpy as np
import pytest

from training.data.han_strokes import HAN
from training.data.pixel_font import GLYPHS, face_of
from training.data.texts import (
    CHINESE_WORDS,
    MORE_WORDS,
    WORDS,
    Kind,
    all_texts,
    confusable,
    other_text,
    random_text,
)


def test_there_are_120_words_and_every_chinese_character_is_in_one() -> None:
    assert len({*WORDS, *MORE_WORDS}) == len(WORDS + MORE_WORDS) == 120
    assert set("".join(CHINESE_WORDS)) == set(HAN)
    assert all(len(text) <= face_of(text).longest for text in all_texts())
    assert set("".join(all_texts())) <= set(GLYPHS)


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        ("capitals", lambda text: text in WORDS),
        ("words", lambda text: text in WORDS + MORE_WORDS),
        ("small", lambda text: text.upper() in WORDS + MORE_WORDS and text.islower()),
        ("numbers", lambda text: str(int(text)) == text and int(text) < 10_000),
        ("chinese", lambda text: text in CHINESE_WORDS),
        ("letters", lambda text: len(text) == 1),
        ("pairs", lambda text: len(text) == 2),
        ("all", lambda text: text in confusable(text)),
    ],
)
def test_a_kind_of_text(kind: Kind, right: object) -> None:
    rng = np.random.default_rng(0)
    texts = [random_text(rng, kind) for _ in range(200)]
    assert all(right(text) for text in texts)  # pyright: ignore[reportCallIssue]
    assert len(set(texts)) > 15
    assert all(other_text(rng, kind, text) != text for text in texts)


def test_pairs_mix_no_scripts() -> None:
    rng = np.random.default_rng(0)
    assert all(len({face_of(letter) for letter in random_text(rng, "pairs")}) == 1 for _ in range(200))


def test_a_number_is_told_from_those_with_another_digit() -> None:
    assert {"42", "43", "92", "SUN", "sun", "日月"} <= set(confusable("42"))
    assert "43" not in confusable("SUN")
