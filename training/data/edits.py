"""Edits: pairs of scenes with an instruction. Both scenes are drawn, so the unchanged part is known exactly.

Knows scenes; knows no network.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from training.data.captions import CHINESE_SHARE, to_chinese
from training.data.random_scenes import HARD, Level, pick_other, random_scene, random_thing, thing_fits
from training.data.scenes import COLOURS, PLACES, SHAPES, Scene, Thing, held_out
from training.data.texts import other_text

Kind = Literal["keep", "recolour", "replace", "remove", "add", "move", "background", "word", "combine"]
KINDS: tuple[Kind, ...] = ("recolour", "replace", "remove", "add", "move", "background", "word", "combine")
SINGLE_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "combine")  # those of one picture


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one or two pictures into another, with instructions in English and Chinese."""

    kind: Kind
    sources: tuple[Scene, ...]
    target: Scene
    english: tuple[str, ...]
    chinese: str

    def instruction(self, rng: np.random.Generator) -> str:
        """Return a random phrasing."""
        if rng.random() < CHINESE_SHARE:
            return self.chinese
        text = self.english[int(rng.integers(len(self.english)))]
        return text[:1].upper() + text[1:] if rng.random() < 0.5 else text


def random_edit(rng: np.random.Generator, kind: Kind, level: Level = HARD, *, of_held_out: bool = False) -> Edit:
    """Draw an edit of a kind. Held-out edits have a source or a target that is never trained on."""
    level = replace(level, words=1.0) if kind == "word" else level
    while True:
        source = random_scene(rng, level, of_held_out=of_held_out and rng.random() < 0.5)
        edit = _MAKERS[kind](rng, source, level)
        if edit is not None and (held_out(source) or held_out(edit.target)) == of_held_out:
            return edit


def _keep(rng: np.random.Generator, source: Scene, level: Level) -> Edit:
    return Edit("keep", (source,), source, ("keep the picture as it is", "change nothing"), "保持原图不变")


def _recolour(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if not source.things:
        return None
    index = int(rng.integers(len(source.things)))
    thing = source.things[index]
    colour = pick_other(rng, list(COLOURS), thing.colour, source.background)
    english = (f"make the {_name(thing)} {colour}", f"change the color of the {_name(thing)} to {colour}")
    text = f"把{_chinese_name(thing)}变成{to_chinese(colour)}"
    return _unambiguous("recolour", source, source.with_thing(index, colour=colour), english, text)


def _replace(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if not source.things:
        return None
    index = int(rng.integers(len(source.things)))
    thing = source.things[index]
    shape = pick_other(rng, SHAPES, thing.shape)
    english = (f"replace the {_name(thing)} with a {shape}", f"turn the {_name(thing)} into a {shape}")
    text = f"把{_chinese_name(thing)}换成{to_chinese(shape)}"
    return _unambiguous("replace", source, source.with_thing(index, shape=shape), english, text)


def _remove(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if not source.things:
        return None
    index = int(rng.integers(len(source.things)))
    thing = source.things[index]
    target = replace(source, things=source.things[:index] + source.things[index + 1 :])
    english = (f"remove the {_name(thing)}", f"take the {_name(thing)} away")
    return Edit("remove", (source,), target, english, f"去掉{_chinese_name(thing)}")


def _add(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if len(source.things) > 2:
        return None
    thing = random_thing(rng, source, level)
    if thing is None:
        return None
    target = replace(source, things=(*source.things, thing))
    english = (f"add a {thing.size} {_name(thing)} at the {thing.place}",)
    text = f"在{to_chinese(thing.place)}加一个{to_chinese(thing.size)}{_chinese_name(thing)}"
    return Edit("add", (source,), target, english, text)


def _move(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if not source.things:
        return None
    index = int(rng.integers(len(source.things)))
    thing = source.things[index]
    moved = replace(thing, place=pick_other(rng, list(PLACES), thing.place))
    rest = replace(source, things=source.things[:index] + source.things[index + 1 :])
    if not thing_fits(rest, moved):
        return None
    english = (f"move the {_name(thing)} to the {moved.place}", f"put the {_name(thing)} at the {moved.place}")
    text = f"把{_chinese_name(thing)}移到{to_chinese(moved.place)}"
    return Edit("move", (source,), source.with_thing(index, place=moved.place), english, text)


def _background(rng: np.random.Generator, source: Scene, level: Level) -> Edit:
    taken = [thing.colour for thing in source.things] + ([source.word.colour] if source.word else [])
    colour = pick_other(rng, list(COLOURS), source.background, *taken)
    english = (f"make the background {colour}", f"change the background to {colour}")
    target = replace(source, background=colour)
    return Edit("background", (source,), target, english, f"把背景变成{to_chinese(colour)}")


def _word(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    if source.word is None:
        return None
    text = other_text(rng, level.texts, source.word.text)
    target = replace(source, word=replace(source.word, text=text))
    english = (f'change the word to "{text}"', f'replace "{source.word.text}" with "{text}"')
    return Edit("word", (source,), target, english, f'把文字改成"{text}"')


def _combine(rng: np.random.Generator, source: Scene, level: Level) -> Edit | None:
    """The first thing of picture 1 in the colour of the only thing of picture 2."""
    if len(source.things) != 1 or source.word:
        return None
    second = random_scene(rng, Level((1.0, 0.0, 0.0), 0.0))
    colour = second.things[0].colour
    if colour in (source.background, source.things[0].colour):
        return None
    english = ("the shape of picture 1 in the color of picture 2", "give picture 1 the color of picture 2")
    target = source.with_thing(0, colour=colour)
    return Edit("combine", (source, second), target, english, "图1的形状，图2的颜色")


_MAKERS = {
    "keep": _keep,
    "recolour": _recolour,
    "replace": _replace,
    "remove": _remove,
    "add": _add,
    "move": _move,
    "background": _background,
    "word": _word,
    "combine": _combine,
}


def _unambiguous(kind: Kind, source: Scene, target: Scene, english: tuple[str, ...], text: str) -> Edit | None:
    """Return the edit, or None if the change makes two things equal."""
    names = {_name(thing) for thing in target.things}
    return Edit(kind, (source,), target, english, text) if len(names) == len(target.things) else None


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.shape}"


def _chinese_name(thing: Thing) -> str:
    return to_chinese(thing.colour) + to_chinese(thing.shape)
