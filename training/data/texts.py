"""The texts that scenes can show: words in capitals and small letters, numbers, and Chinese words.

Knows texts; knows no picture.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from training.data.pixel_font import GLYPHS

# The first world had the first of these words, in capitals.
WORDS = tuple("SUN CAT DOG SKY ART BOX CUP HAT KEY MAP OPEN STOP HELLO LOVE BLUE JAZZ FISH GO HI OK YES NO".split())
MORE_WORDS = tuple(
    "AIR APPLE BABY BALL BAND BANK BEAR BELL BIKE BIRD BOAT BOOK BREAD BUS CAFE CAKE CAR CITY CLUB COLD COOL DANCE "
    "DAY DOOR DREAM EARTH EAST EXIT FARM FILM FIRE FREE FROG GAME GIFT GOLD GOOD GREEN HAND HAPPY HEART HERO HOME HOT "
    "ICE JOY JUICE KING LAKE LEAF LIFE LIGHT LION LUCKY MAGIC MILK MOON MOUSE MUSIC NEW NIGHT NORTH OCEAN PAPER PARK "
    "PARTY PEACE PEN PIZZA PLAY QUEEN QUIZ RAIN RED RIVER ROAD ROCK SALE SEA SHIP SHOP SMILE SNOW SOUTH STAR STONE "
    "SWIM TEA TIME TOY TREE WATER WEST WIND WOLF WORLD ZEBRA ZOO".split()
)
CHINESE_WORDS = tuple(
    "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 上下 左右 大小 东西 南北 日月 山水 水火 火车 电车 牛马 山羊 "
    "白云 风雨 雨水 大门 开门 关门 出口 入口 人口 山石 土木 木马 书本 中文 天山 水田 大米 白玉 工人 王 心 手 目 "
    "万年 元 小心".split()
)
# `capitals` are the words of the first world. `all` mixes the four scripts after it. The last two prepare for words.
Kind = Literal["capitals", "all", "words", "small", "numbers", "chinese", "letters", "pairs"]
_MIXED: tuple[Kind, ...] = ("words", "small", "numbers", "chinese")
_SHARES = (0.35, 0.25, 0.15, 0.25)  # of the scripts
_SCRIPTS = (GLYPHS[:26], GLYPHS[26:52], GLYPHS[52:62], GLYPHS[62:])
DIGITS = 4  # of the longest number


def random_text(rng: np.random.Generator, kind: Kind) -> str:
    """Draw a text of a kind."""
    if kind == "capitals":
        return _pick(rng, WORDS)
    script = int(rng.choice(4, p=_SHARES))
    if kind in ("letters", "pairs"):
        return "".join(_pick(rng, _SCRIPTS[script]) for _ in range(1 if kind == "letters" else 2))
    if kind == "all":
        kind = _MIXED[script]
    if kind == "numbers":
        return random_number(rng)
    word = _pick(rng, CHINESE_WORDS if kind == "chinese" else WORDS + MORE_WORDS)
    return word.lower() if kind == "small" else word


def other_text(rng: np.random.Generator, kind: Kind, than: str) -> str:
    """Draw another text, of any script."""
    if kind == "capitals":
        return _pick(rng, [word for word in WORDS if word != than])
    while (text := random_text(rng, kind)) == than:
        pass
    return text


def random_number(rng: np.random.Generator) -> str:
    """Draw a number of one to four digits, each length as often as any other."""
    return str(int(rng.integers(10 ** int(rng.integers(1, DIGITS + 1)))))


def all_texts() -> tuple[str, ...]:
    """Return every word in all its writings. Numbers are too many to list."""
    latin = WORDS + MORE_WORDS
    return (*latin, *(word.lower() for word in latin), *CHINESE_WORDS)


def confusable(text: str) -> tuple[str, ...]:
    """Return a text, all words, and for a number all numbers with one other digit: the choices of a strict reader."""
    near = (
        {text[:i] + digit + text[i + 1 :] for i in range(len(text)) for digit in _SCRIPTS[2]} if text.isdigit() else ()
    )
    return tuple(dict.fromkeys((text, *all_texts(), *sorted(near))))


def choices(text: str, kind: Kind) -> tuple[str, ...]:
    """Return what a text of a kind is told from: the words of the first world, or all that are similar."""
    return WORDS if kind == "capitals" else confusable(text)


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
