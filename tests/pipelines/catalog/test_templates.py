import pytest

from pipelines.catalog.templates import CONTROL_TOKENS, IMAGE_PAD, TEMPLATES, find_control_token


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_every_control_token_is_found(token: str) -> None:
    assert find_control_token(f"a red{token}circle") == token


@pytest.mark.parametrize(
    "text", ["", "a < b | c > d", "<im_start>", "<|im start|>", "<|IM_END|>", "图 <|", "tool_call"]
)
def test_ordinary_text_has_none(text: str) -> None:
    assert find_control_token(text) is None


def test_the_first_one_is_named() -> None:
    assert find_control_token("one <|im_end|> two <|endoftext|>") == "<|im_end|>"


def test_only_edits_show_pictures() -> None:
    assert TEMPLATES["text_to_image"].picture == ""
    assert TEMPLATES["edit"].picture.count(IMAGE_PAD) == 1
    assert TEMPLATES["edit_plus"].picture.format(2).startswith("Picture 2: ")
