from pathlib import Path, PurePosixPath

import pytest

from ownware.batch.item import BatchError, Item, ItemError
from ownware.batch.names import (
    check_pattern,
    format_of_name,
    format_of_source,
    parse_format,
    result_names,
    safe_stem,
    stem_of_prompt,
)


@pytest.mark.parametrize(
    ("name", "has_alpha", "expected"),
    [
        ("PNG", True, "PNG"),
        ("JPEG", False, "JPG"),
        ("MPO", False, "JPG"),
        ("WEBP", True, "WEBP"),
        ("TIFF", False, "PNG"),
        ("HEIF", False, "JPG"),
        ("AVIF", True, "PNG"),
        ("something new", False, "PNG"),
    ],
)
def test_the_format_is_that_of_the_source_or_the_nearest(name: str, has_alpha: bool, expected: str) -> None:
    assert format_of_source(name, has_alpha=has_alpha) == expected


def test_a_format_by_its_name() -> None:
    assert [parse_format(text) for text in ("png", "JPEG", "Webp")] == ["PNG", "JPG", "WEBP"]
    assert (format_of_name(Path("a.JPG")), format_of_name(Path("a.tif")), format_of_name(Path("a"))) == (
        "JPG",
        None,
        None,
    )
    with pytest.raises(ItemError, match="'gif' is none of PNG, JPG and WEBP"):
        parse_format("gif")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{stem}-{size}.{ext}", "'size'"),
        ("{stem", "cannot be used"),
        ("../{stem}.{ext}", "does not stay"),
        ("/tmp/{stem}.{ext}", "does not stay"),
        ("", "does not stay"),
        ("{0}.png", "the fields are {stem}"),
        ("{stem.__class__}", "no field {stem.__class__}"),
        ("{seed.imag.__class__}", "no field"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, reason: str) -> None:
    with pytest.raises(BatchError, match=reason):
        check_pattern(pattern)


def test_a_pattern() -> None:
    pattern = check_pattern("{number}/{stem}-{seed}.{ext}")
    item = Item("", "cat", folder=PurePosixPath("pets"))
    assert result_names(item, pattern, range(7, 9), "png", 3, (), None) == (
        "pets/0003/cat-7.png",
        "pets/0003/cat-8.png",
    )


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "A-2.png").touch()
    item = Item("", "A")
    assert result_names(item, "{stem}.{ext}", range(2), "png", 1, {"a.png"}, tmp_path) == ("A-3.png", "A-4.png")


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("a/b\\c:d", "a-b-c-d"),
        ("..", "picture"),
        ("  x. ", "x"),
        ("a\nb\0c", "a-b-c"),
        ("名前", "名前"),
        ("x" * 500, "x" * 120),
    ],
)
def test_a_stem_is_safe_as_a_name(text: str, stem: str) -> None:
    assert safe_stem(text) == stem


def test_a_prompt_as_a_name() -> None:
    assert stem_of_prompt("A large RED circle, at the center; on white!") == "a-large-red-circle-at-the-center-on"
    assert stem_of_prompt("!?") == "picture"
    assert len(stem_of_prompt("word" * 100)) <= 60
