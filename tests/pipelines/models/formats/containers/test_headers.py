from pathlib import Path

import pytest

from pipelines.models.formats.containers.headers import FormatError, TensorEntry, check_length, not_weights


def test_elements() -> None:
    assert TensorEntry(Path("a"), "F32", (3, 4), 0, 48).elements == 12
    assert TensorEntry(Path("a"), "F32", (), 0, 4).elements == 1


def test_a_truncated_file_says_how_much_is_there() -> None:
    check_length(Path("a.gguf"), 1000, 1000)
    with pytest.raises(FormatError, match=r"'a\.gguf' is truncated: it has 1,000 of 2,000 bytes; copy or download"):
        check_length(Path("a.gguf"), 1000, 2000)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS"),
        (b"\n<!DOCTYPE html>", "page of HTML"),
        (b"PK\x03\x04", "is no GGUF file"),
    ],
)
def test_other_files_are_told_by_their_first_bytes(start: bytes, said: str) -> None:
    assert said in str(not_weights(Path("a.gguf"), start, "GGUF"))
