"""Scores a checkpoint on what the first world lacks: three things, all texts, edges, and edits of such scenes.

    python -m training.scores.full_world [--weights build/embedded] [--count 64] [--out scores.json]

Adds its rows to those of `training.scores.evaluate`. Knows scenes and the loop; knows no training.
"""

from dataclasses import replace

from training.data.edits import SINGLE_KINDS
from training.data.random_scenes import LITERATE, Level
from training.data.texts import Kind
from training.scores.evaluate import (
    ONE_WORD,
    TWO_THINGS,
    Renderer,
    RenderOptions,
    score_edges,
    score_edits,
    score_several,
    score_words,
)
from training.scores.scoring import Scoring

THREE_THINGS = Level((0.0, 0.0, 1.0), 0.0)
TEXTS: dict[str, Kind] = {
    "word of 120": "words",
    "word in small letters": "small",
    "number": "numbers",
    "Chinese word": "chinese",
}


def full_scores(renderer: Renderer, count: int, options: RenderOptions | None = None) -> dict[str, dict[str, float]]:
    """Return the scores by task."""
    options = options or RenderOptions()
    words = {name: score_words(renderer, count, options, replace(ONE_WORD, texts=kind)) for name, kind in TEXTS.items()}
    some = max(2, count // 8)
    return {
        "edges": score_edges(renderer, count, options),
        "three things": score_several(renderer, count, options, THREE_THINGS),
        "two things, in Chinese": score_several(renderer, count, replace(options, language="zh"), TWO_THINGS),
        **words,
        "edits of full scenes": score_edits(renderer, some, options, SINGLE_KINDS, LITERATE),
        "two references": score_edits(renderer, count, options, ("combine",)),
    }


def main() -> None:
    """Score, print and save."""
    scoring = Scoring.parse(__doc__)
    scoring.save_scores(full_scores(Renderer(scoring.load(), scoring.area), scoring.count))


if __name__ == "__main__":
    main()
