"""A tokenizer that needs no vocabulary file: one token a byte, and Qwen's control tokens.

It is an ordinary `Qwen2Tokenizer`, so every text round-trips and the templates are cut as with the real one.
"""

from typing import Any, cast

from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer

from pipelines.prompts import CONTROL_TOKENS


def byte_tokenizer() -> Qwen2Tokenizer:
    """256 byte symbols, then the control tokens in the order of the real vocabulary."""
    symbols = [*sorted(ByteLevel.alphabet()), *CONTROL_TOKENS]
    # The class appends its end and padding tokens unless they are in the vocabulary already, shifting their ids.
    tokenizer = Qwen2Tokenizer(vocab={symbol: number for number, symbol in enumerate(symbols)}, merges=[])
    control = [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    tokenizer.add_tokens(cast("Any", control))  # declared for transformers' own token class, which this one replaces
    return tokenizer
