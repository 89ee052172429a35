import base64

import pytest
from transformers import Qwen2Tokenizer

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.catalog.templates import TEMPLATES
from training.trainers.tokenizer import prune_tokenizer, read_ranks, tokenizer_corpus

# The table of a `qwen.tiktoken` file: every byte, then merges by rank. No text here needs the last of them.
MERGES = ["th", "he", "re", "the", " the", "red", "in", "ing", " r", " red", "zz", "zzz", "绿"[0:1]]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, int]:
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [bytes([i, j]) for i in range(200, 216) for j in range(128, 192)]  # beyond the ranks that are always kept
    green = "绿".encode()
    pieces += [green[:2]] if green[:2] not in pieces else []
    pieces += [merge.encode() for merge in MERGES]
    lines = (base64.b64encode(piece) + f" {rank}".encode() for rank, piece in enumerate(dict.fromkeys(pieces)))
    path = tmp_path_factory.mktemp("table") / "qwen.tiktoken"
    path.write_bytes(b"\n".join(lines))
    return read_ranks(path)


def test_texts_of_the_corpus_split_as_with_the_whole_table(ranks: dict[bytes, int]) -> None:
    texts = ["the red thing", "绿 the", "there"]
    whole, pruned = prune_tokenizer(ranks, [*texts, "zzz"]), prune_tokenizer(ranks, texts)
    assert len(pruned) < len(whole)
    for text in texts:
        assert pruned.tokenize(text) == whole.tokenize(text)
    assert whole.tokenize("the red thing") == ["the", "Ġred", "Ġ", "th", "ing"]
    assert pruned.decode(pruned("zzz Ünïcödé 😀")["input_ids"]) == "zzz Ünïcödé 😀"


class TestEmbedded:
    """The embedded vocabulary."""

    tokenizer = Qwen2Tokenizer.from_pretrained(EMBEDDED_FOLDER, subfolder="tokenizer")

    def test_prefixes_are_as_long_as_every_pipeline_takes_them_to_be(self) -> None:
        # prompt_template_encode_start_idx in diffusers' pipelines.
        lengths = {mode: len(self.tokenizer(template.prefix)["input_ids"]) for mode, template in TEMPLATES.items()}
        assert lengths == {"text_to_image": 34, "edit": 64, "edit_plus": 64}

    def test_captions_are_whole_words_and_everything_round_trips(self) -> None:
        tokens = self.tokenizer.tokenize("a large red circle at the top left on a blue background")
        assert tokens[:4] == ["a", "Ġlarge", "Ġred", "Ġcircle"]
        for text in ["一只猫坐在窗台上", "Ünïcödé 😀\n\t", *tokenizer_corpus(1, 200)]:
            assert self.tokenizer.decode(self.tokenizer(text)["input_ids"]) == text
