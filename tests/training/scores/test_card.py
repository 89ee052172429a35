import json
from pathlib import Path

import pytest

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training.scores.card import card_section, write_card

SCORES = {
    "weights": "f" * 64,
    "VAE, dB": {"128 px": 32.2},
    "one thing": {"shape": 0.792},
    "edges": {"mean IoU": 0.931},
    "edits": {"followed": 0.438, "untouched dB": 30.3},
    "negative prompt": {"of plain prompts": 1.02},
}


def test_every_score_has_its_unit() -> None:
    section = card_section(SCORES, [])
    assert f"Scores of the weights `{'f' * 64}`." in section
    assert "| VAE, dB | 128 px 32.2 dB |" in section
    assert "| one thing | shape 79 % |" in section
    assert "| edges | mean IoU 0.93 |" in section
    assert "| edits | followed 44 %, untouched 30.3 dB |" in section
    assert "| negative prompt | of plain prompts 1.02 times as sharp |" in section
    assert "samples" not in section


def test_the_curve_is_in_the_order_of_samples() -> None:
    scores = {
        "one thing": {"shape": 0.5},
        "two things": {"all attributes": 0.25},
        "word": {"word": 0.125},
        "edits": {"followed": 0.75},
    }
    section = card_section(SCORES, [{"samples": count, "scores": scores} for count in (2_000_000, 1_000_000)])
    assert section.index("| 1,000,000 | 50 % | 25 % | 12 % | 75 % |") < section.index("| 2,000,000 |")


def test_the_card_has_the_scores_of_the_file(tmp_path: Path) -> None:
    card = (EMBEDDED_FOLDER / "MODEL_CARD.md").read_text()
    (tmp_path / "MODEL_CARD.md").write_text(card)
    (tmp_path / "scores.json").write_bytes((EMBEDDED_FOLDER / "scores.json").read_bytes())
    write_card(tmp_path)
    assert (tmp_path / "MODEL_CARD.md").read_text() == card
    (tmp_path / "scores.json").write_text(json.dumps(SCORES))
    write_card(tmp_path)
    assert "| one thing | shape 79 % |" in (tmp_path / "MODEL_CARD.md").read_text()


def test_a_card_without_a_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "MODEL_CARD.md").write_text("# A model\n")
    with pytest.raises(ValueError, match="has no <!-- scores -->"):
        write_card(tmp_path)
