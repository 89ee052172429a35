from pathlib import Path

import pytest

from pipelines.catalog.catalog import BUILT_IN, EMBEDDED_FOLDER
from pipelines.catalog.models_file import CatalogError, load_catalog
from pipelines.catalog.vocabulary import Vocabulary, VocabularyError, load_vocabulary

OWN = load_vocabulary(EMBEDDED_FOLDER / "vocabulary.toml")


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a large red circle at the top left on a blue background", ()),
        ("A LARGE, RED circle; at the top-left!", ()),
        ("please draw an image of a red circle", ()),
        ('a green star and the word "SUN" in white at the bottom, blurry, low quality', ()),
        ("", ()),
        (" ", ()),
        ("(red circle:1) …", ()),
        ("a photograph of an old fisherman", ("photograph", "old", "fisherman")),
        ("a cat, a Cat and a cat's tail", ("cat", "Cat", "cat's", "tail")),
        ("three red circles", ("three", "circles")),
        ("a red circle 🙂", ("🙂",)),
        ("красный круг", ("красный", "круг")),
        ('the word "BREAD" in red', ('"BREAD"',)),
        ('the word "sun" in red', ('"sun"',)),
        ('the word “SUN” in red and "" and "SUN CAT"', ('"SUN CAT"',)),
        ("make the large red circle blue", ()),
        ('replace "SUN" with "CAT"', ()),
        ("Give picture 1 the color of picture 2", ()),
        ("make the man in the picture smile", ("man", "smile")),
        ("keep the picture as it is", ()),
        ("红色背景，中央有一个大白色圆形", ()),
        ("请画一个红色的圆形，背景是蓝色的", ()),
        ("把红色圆形变成蓝色", ()),
        ('把文字改成"SUN"', ()),
        ("图1的形状，图2的颜色", ()),
        ("模糊，低质量", ()),
        ("保持原图不变", ()),
        ("一只熊猫坐在竹林里看书", ("熊猫坐", "竹林", "看书")),
        ("红色背景，中央有一只猫", ("猫",)),
        ("白马", ("白马",)),
        ("ｒｅｄ　ｃｉｒｃｌｅ", ()),
        ("a red 圆形 and a 老虎", ("老虎",)),
    ],
)
def test_unknown_words_are_found_in_either_language(prompt: str, unknown: tuple[str, ...]) -> None:
    assert OWN.unknown(prompt) == unknown


def test_the_remark_is_short() -> None:
    assert OWN.remark("prompt", "a red circle") is None
    text = OWN.remark("positivePrompt", f"a photograph of {'very' * 10} old people and their dogs")
    assert text == (
        "positivePrompt: these weights draw flat shapes and short words only. "
        "They were not trained on: photograph, veryveryveryveryveryvery…, old and 3 more."
    )


def test_the_prompts_of_the_large_models_are_unknown_to_the_embedded_one_and_its_own_are_known() -> None:
    foreign = BUILT_IN.with_name("prompts.txt").read_text(encoding="utf-8").splitlines()
    own = (EMBEDDED_FOLDER / "prompts.txt").read_text(encoding="utf-8").splitlines()
    assert all(OWN.unknown(prompt) for prompt in foreign)
    assert not any(OWN.unknown(prompt) for prompt in own)


def test_only_the_embedded_weights_have_one() -> None:
    entry = load_catalog().entries[0]
    assert entry.known_words is None
    assert load_catalog().with_embedded_weights().entries[0].known_words == OWN


ROW = """
[[models]]
air = "my:small@1"
name = "Small"
version = "1"
architecture = "qwen_image"
mode = "text_to_image"
weights = "./weights"
steps = 8
true_cfg_scale = 4.0
vocabulary = "words.toml"
"""


def test_a_row_names_its_own_beside_the_models_file(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(ROW)
    (tmp_path / "words.toml").write_text('draws = "boats"\nwords = ["boat"]\n')
    known = load_catalog(tmp_path / "models.toml").entries[0].known_words
    assert known == Vocabulary("boats", frozenset({"boat"}))
    assert known is not None
    assert known.unknown("a boat at sea") == ("sea",)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "No such file"), ("draws = ", "Invalid value"), ('draws = "x"', "words: Field required")],
)
def test_a_file_that_cannot_be_used_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(ROW)
    if text is not None:
        (tmp_path / "words.toml").write_text(text)
    with pytest.raises(VocabularyError, match=message):
        load_vocabulary(tmp_path / "words.toml")
    with pytest.raises(CatalogError, match=r"my:small@1: vocabulary: .*words\.toml"):
        load_catalog(tmp_path / "models.toml")
