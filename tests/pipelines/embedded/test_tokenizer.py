import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.embedded.tokenizer import byte_tokenizer
from pipelines.prompts import CONTROL_TOKENS, TEMPLATES, find_control_token

TOKENIZER = byte_tokenizer()


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not find_control_token(text)))
def test_any_text_round_trips(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)  # as Qwen's tokenizers do
    ids = TOKENIZER(text)["input_ids"]
    assert len(ids) == len(composed.encode())
    assert TOKENIZER.decode(ids) == composed


def test_control_tokens_are_one_token_each_in_the_real_order() -> None:
    ids = [TOKENIZER(token)["input_ids"] for token in CONTROL_TOKENS]
    assert ids == [[256 + number] for number in range(len(CONTROL_TOKENS))]
    assert len(TOKENIZER) == 256 + len(CONTROL_TOKENS)
    assert TOKENIZER.pad_token == "<|endoftext|>"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_templates_are_control_tokens_and_bytes(template: object) -> None:
    prefix = getattr(template, "prefix", "")
    control = sum(prefix.count(token) for token in CONTROL_TOKENS)
    plain = len(prefix) - sum(prefix.count(token) * len(token) for token in CONTROL_TOKENS)
    assert len(TOKENIZER(prefix)["input_ids"]) == control + plain


def test_saving_and_loading_changes_nothing(tmp_path: object) -> None:
    TOKENIZER.save_pretrained(str(tmp_path))
    again = type(TOKENIZER).from_pretrained(str(tmp_path))
    text = TEMPLATES["edit_plus"].prefix + "make it 绿色 <|im_end|>"
    assert again(text)["input_ids"] == TOKENIZER(text)["input_ids"]
