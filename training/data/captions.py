"""Captions of scenes in several phrasings, in English and Chinese. Knows scenes; knows no network."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from training.data.scenes import Scene, Thing, Word

Language = Literal["en", "zh"]
LOW_QUALITY: dict[Language, str] = {"en": "blurry, low quality", "zh": "模糊，低质量"}

_CHINESE_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "black": "黑色",
    "gray": "灰色",
    "white": "白色",
}
_CHINESE_SHAPES = {
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "星形",
    "cross": "十字",
    "ring": "圆环",
}
_CHINESE_SIZES = {"small": "小", "medium": "中等", "large": "大"}
_CHINESE_PLACES = {
    "top left": "左上角",
    "top": "顶部",
    "top right": "右上角",
    "left": "左侧",
    "center": "中央",
    "right": "右侧",
    "bottom left": "左下角",
    "bottom": "底部",
    "bottom right": "右下角",
}
_CHINESE = _CHINESE_COLOURS | _CHINESE_SHAPES | _CHINESE_SIZES | _CHINESE_PLACES

CHINESE_SHARE = 0.25
_WITHOUT_SIZE = 0.15
_WITHOUT_PLACE = 0.1


def to_chinese(word: str) -> str:
    """Return the Chinese name of a colour, shape, size or place."""
    return _CHINESE[word]


def chinese_names() -> tuple[str, ...]:
    """Return the Chinese names of all colours, shapes, sizes and places."""
    return tuple(_CHINESE.values())


def random_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Caption a scene in a random phrasing. Sizes and places are sometimes left out."""
    if rng.random() < CHINESE_SHARE:
        parts = [f"{to_chinese(scene.background)}背景", *_parts(scene, rng, _in_chinese, _word_in_chinese)]
        return "，".join(parts)
    parts = _parts(scene, rng, _in_english, _word_in_english)
    if rng.random() < 0.5:
        return _capitalize_at_random(f"{' and '.join(parts)} on a {scene.background} background", rng)
    return _capitalize_at_random(f"{scene.background} background, {', '.join(parts)}", rng)


def exact_caption(scene: Scene, language: Language = "en") -> str:
    """Return the one complete caption in a language."""
    name_thing, name_word = (_in_english, _word_in_english) if language == "en" else (_in_chinese, _word_in_chinese)
    parts = [name_thing(thing, with_size=True, with_place=True) for thing in scene.things]
    if scene.word:
        parts.append(name_word(scene.word, with_place=True))
    if language == "zh":
        return "，".join([f"{to_chinese(scene.background)}背景", *parts])
    return f"{' and '.join(parts)} on a {scene.background} background"


def caption_degraded(text: str, rng: np.random.Generator) -> str:
    """Caption a degraded picture as such, with or without its content."""
    language: Language = "zh" if rng.random() < CHINESE_SHARE else "en"
    mark = LOW_QUALITY[language]
    return mark if rng.random() < 0.5 or not text else f"{text}{', ' if language == 'en' else '，'}{mark}"


def _parts(
    scene: Scene, rng: np.random.Generator, name_thing: Callable[..., str], name_word: Callable[..., str]
) -> list[str]:
    parts = [
        name_thing(thing, with_size=rng.random() >= _WITHOUT_SIZE, with_place=rng.random() >= _WITHOUT_PLACE)
        for thing in scene.things
    ]
    if scene.word:
        parts.append(name_word(scene.word, with_place=rng.random() >= _WITHOUT_PLACE))
    return [parts[i] for i in rng.permutation(len(parts))]


def _in_english(thing: Thing, *, with_size: bool, with_place: bool) -> str:
    name = f"{thing.size} {thing.colour} {thing.shape}" if with_size else f"{thing.colour} {thing.shape}"
    return f"a {name} at the {thing.place}" if with_place else f"a {name}"


def _in_chinese(thing: Thing, *, with_size: bool, with_place: bool) -> str:
    size = to_chinese(thing.size) if with_size else ""
    name = f"{size}{to_chinese(thing.colour)}{to_chinese(thing.shape)}"
    return f"{to_chinese(thing.place)}有一个{name}" if with_place else f"一个{name}"


def _word_in_english(word: Word, *, with_place: bool) -> str:
    return f'the word "{word.text}" in {word.colour}' + (f" at the {word.place}" if with_place else "")


def _word_in_chinese(word: Word, *, with_place: bool) -> str:
    return f'{to_chinese(word.place) if with_place else ""}写着{to_chinese(word.colour)}的"{word.text}"'


def _capitalize_at_random(text: str, rng: np.random.Generator) -> str:
    return text[0].upper() + text[1:] if rng.random() < 0.5 else text
