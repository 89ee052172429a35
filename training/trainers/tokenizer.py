"""The real Qwen vocabulary, pruned to the needs of captions, instructions and templates.

A pair that merges in the whole table is the lowest-ranked one in the pruned table too. Text of the corpus therefore
splits into exactly the real pieces, and the prefixes of the templates have the 34 and 64 tokens that every pipeline
drops. Other text falls back to smaller pieces, down to bytes.
"""

import base64
import heapq
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer

from pipelines.catalog.templates import CONTROL_TOKENS, TEMPLATES
from training.data.vocabulary import training_texts

_FIRST_RANKS = 1024  # always kept: bytes and the most frequent pieces


def read_ranks(vocabulary: Path) -> dict[bytes, int]:
    """Read the 151,643 pieces of a `qwen.tiktoken` file, which its maker's `dashscope` package contains."""
    lines = vocabulary.read_bytes().splitlines()
    return {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in lines if line)}


def tokenizer_corpus(seed: int, texts: int = 6000) -> list[str]:
    """Return the templates, and captions and instructions as in training."""
    templates = [
        template.prefix + "".join(template.picture.format(number) for number in (1, 2, 3)) + template.tail
        for template in TEMPLATES.values()
    ]
    return [*templates, *training_texts(seed, texts)]


def prune_tokenizer(ranks: dict[bytes, int], texts: Iterable[str]) -> Qwen2Tokenizer:
    """Make an ordinary tokenizer of the first ranks and of the pieces that the texts merge into."""
    splitter = build_tokenizer({symbol: i for i, symbol in enumerate(ByteLevel.alphabet())}, [])
    pretokenizer, normalizer = splitter.backend_tokenizer.pre_tokenizer, splitter.backend_tokenizer.normalizer
    kept = {piece for piece, rank in ranks.items() if rank < _FIRST_RANKS}
    seen: set[str] = set()
    for text in texts:
        for word, _ in pretokenizer.pre_tokenize_str(normalizer.normalize_str(text)):
            if word not in seen:
                seen.add(word)
                kept |= _merged(_to_bytes(word), ranks)
    pieces = sorted(kept, key=ranks.__getitem__)
    merges = [_halves(piece, ranks) for piece in pieces if len(piece) > 1]
    vocabulary = {_to_symbols(piece): i for i, piece in enumerate(pieces)}
    return build_tokenizer(
        vocabulary | {token: len(vocabulary) + i for i, token in enumerate(CONTROL_TOKENS)},
        [(_to_symbols(left), _to_symbols(right)) for left, right in merges],
    )


def build_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Qwen2Tokenizer:
    """Make an ordinary tokenizer of a vocabulary that ends with the control tokens."""
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=cast("Any", merges))
    control = [AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS]
    tokenizer.add_tokens(cast("Any", control))  # declared for transformers' own token class, which this one replaces
    return tokenizer


def _merged(word: bytes, ranks: dict[bytes, int]) -> set[bytes]:
    """Every piece that appears while a word is merged by the whole table."""
    parts = [word[i : i + 1] for i in range(len(word))]
    met = set(parts)
    while len(parts) > 1:
        pairs = [(ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, i = heapq.nsmallest(1, pairs)[0]
        if rank == len(ranks):
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        met.add(parts[i])
    return met


def _halves(piece: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two pieces that were merged last, found by merging with lower ranks only."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while len(parts) > 2:
        pairs = [(ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(pairwise(parts))]
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]


_SYMBOLS = dict(
    zip(
        [*range(33, 127), *range(161, 173), *range(174, 256)],
        [*range(33, 127), *range(161, 173), *range(174, 256)],
        strict=True,
    )
)
_SYMBOLS |= {byte: 256 + i for i, byte in enumerate(b for b in range(256) if b not in _SYMBOLS)}
_BYTES = {symbol: byte for byte, symbol in _SYMBOLS.items()}


def _to_symbols(piece: bytes) -> str:
    """Write bytes as the printable characters of byte-level BPE."""
    return "".join(chr(_SYMBOLS[byte]) for byte in piece)


def _to_bytes(symbols: str) -> bytes:
    return bytes(_BYTES[ord(symbol)] for symbol in symbols)
