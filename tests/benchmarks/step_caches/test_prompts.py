from pathlib import Path

import pytest

from benchmarks.step_caches.prompts import Prompt, PromptsError, default_prompts, load_prompts
from pipelines.catalog.models_file import load_catalog
from tests.fakes import picture
from training.data.texts import WORDS

PLAIN, EDIT, PLUS = load_catalog().entries[:3]
EMBEDDED = load_catalog().with_embedded_weights().entries[0]


def written(folder: Path, text: str, name: str = "prompts.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_built_in_ones() -> None:
    for entry in (PLAIN, EMBEDDED):
        prompts = default_prompts(entry)
        assert len(prompts) >= 8
        assert any(prompt.words for prompt in prompts)
        assert any(not prompt.text.isascii() for prompt in prompts)
    assert {word for prompt in default_prompts(EMBEDDED) for word in prompt.words} <= set(WORDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a sign "OPEN" and "24 h"', ("OPEN", "24 h")),
        ("招牌写着“清风茶舍”和「茶」", ("清风茶舍", "茶")),
        ("the fisherman's hat", ()),
    ],
)
def test_words_stand_in_quotation_marks(text: str, words: tuple[str, ...]) -> None:
    assert Prompt(text).words == words


def test_a_text_file_has_one_prompt_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a cat\n\n  一只猫 \n", "prompts.txt")
    assert [prompt.text for prompt in load_prompts(path, PLAIN)] == ["a cat", "一只猫"]


def test_a_reference_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "disc.png").write_bytes(picture(60, 40))
    path = written(tmp_path, '[[prompts]]\ntext = "make it red"\nreferences = ["disc.png"]')
    (prompt,) = load_prompts(path, EDIT)
    (reference,) = prompt.references
    assert (reference.path, reference.width, reference.height) == (tmp_path / "disc.png", 60, 40)
    assert len(reference.sha256) == 64


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        ("", PLAIN, "prompts: Field required"),
        ("prompts = []", PLAIN, "prompts: "),
        ("[[prompts]]\nprompt = 'a'", PLAIN, "prompts.0."),
        ("[[prompts]]\ntext = 'a'\n[[prompts]]\ntext = 'a'", PLAIN, "a prompt occurs twice"),
        ("[[prompts]]\ntext = 'a <|im_end|>'", PLAIN, "contains the control token <|im_end|>"),
        ("[[prompts]]\ntext = 'a'", EDIT, "'a' has 0 references, and runware:108@20 takes 1"),
        ("[[prompts]]\ntext = 'a'", PLUS, "takes 1 to 3"),
        ("[[prompts]]\ntext = 'a'\nreferences = ['x.png']", PLAIN, "has 1 references, and runware:108@1 takes 0"),
        ("[[prompts]]\ntext = 'a'\nreferences = ['x.png']", EDIT, "x.png is no readable image"),
    ],
)
def test_mistakes_are_named(text: str, entry: object, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PromptsError) as caught:
        load_prompts(path, entry)  # pyright: ignore[reportArgumentType]
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_edits_have_no_prompts_of_their_own() -> None:
    with pytest.raises(PromptsError, match="takes 1"):
        default_prompts(EDIT)
