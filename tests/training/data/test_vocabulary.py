from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED_FOLDER, VOCABULARY
from pipelines.catalog.vocabulary import load_vocabulary
from training.data.vocabulary import save_vocabulary, training_texts


def test_the_file_of_the_embedded_weights_is_that_of_their_training(tmp_path: Path) -> None:
    save_vocabulary(tmp_path / "words.toml")
    assert (tmp_path / "words.toml").read_text() == (EMBEDDED_FOLDER / VOCABULARY).read_text()


def test_it_knows_every_word_of_other_training_texts() -> None:
    known = load_vocabulary(EMBEDDED_FOLDER / VOCABULARY)
    assert {text: known.unknown(text) for text in training_texts(1, 300) if known.unknown(text)} == {}
